"""The judge as a reward model, in the shapes that trainers call: OpenRLHF's and slime's.

A reward is the value of the answer's judgement, from 0 to 1. A trainer's label can be a rubric, with checks and items
in words: `{"checks": [{"id": "punctuation:no_comma"}], "requirements": ["It names a river."]}`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_core.judge import Judgement
from spar_server.api.judge import JudgeRequest, judge_answer
from spar_server.api.openapi import REWARD, REWARDS
from spar_server.auth.access import key_of
from spar_server.errors import invalid_request
from spar_server.http.disconnect import until_disconnect
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.serving.call_limits import CallLimits
from spar_server.serving.runner import json_response
from spar_server.settings import Settings

# What a judgement without a verdict is worth: evidence of nothing.
_ABSTAINED: Final = 0.5
# Judgements of one request that run at once; the others wait here, not in the queue.
_AT_ONCE: Final = 16
# The end-of-turn token that trainers leave at the end of an answer.
_END: Final = re.compile(r"(?:<\|[\w.]{1,40}\|>|</s>|<eos>|<end_of_turn>)\s*\Z")
_TAIL: Final = 64
_OPTIONS: Final = ("model", "judge", "votes")


class OpenRLHFRequest(BaseModel):
    """`POST /get_reward`, as OpenRLHF's `--remote_rm_url` calls it. `query` has each prompt with its answer."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "query": ["Name a river.The Rhine."],
                "prompts": ["Name a river."],
                "labels": [{"checks": [{"id": "punctuation:no_comma"}]}],
            }
        },
    )

    query: list[str] = Field(min_length=1)
    prompts: list[str]
    labels: list[Any] | None = None


class SlimeRequest(BaseModel):
    """`POST /v1/reward`, as slime's `--rm-type remote_rm` calls it, for one answer."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"example": {"prompt": "Name a river.", "response": "The Rhine.", "label": None}},
    )

    prompt: str | list[dict[str, Any]] = Field(min_length=1)
    response: str
    label: Any = None


@dataclass(frozen=True, slots=True)
class _Item:
    """One answer to judge, and where its rubric is in the request."""

    prompt: str | list[dict[str, Any]]
    response: str
    label: Any
    location: str

    def size(self, request: int) -> int:
        """Its part of the request's size, which decides what is computed off the loop; all of it if it has objects."""
        texts = (self.prompt, self.response, self.label or "")
        return sum(len(text) if isinstance(text, str) else request for text in texts)


router = APIRouter(route_class=JsonRoute)


@router.post("/get_reward", summary="Reward answers, for OpenRLHF", responses=REWARDS)
async def get_reward(body: OpenRLHFRequest, request: JsonRequest) -> Response:
    """The rewards of a batch. The query string can set `judge`, `votes` and `model`."""
    count = len(body.query)
    for name, values in (("prompts", body.prompts), ("labels", body.labels)):
        if values is not None and len(values) != count:
            raise RequestError(f"{name}: has {len(values)} entries for {count} of query; give one for each", param=name)
    labels = body.labels or [None] * count
    items = [
        _Item(prompt, _answer(query, prompt, number), label, f"labels.{number}")
        for number, (query, prompt, label) in enumerate(zip(body.query, body.prompts, labels, strict=True))
    ]
    judgements = await until_disconnect(request.scope, request.receive, _judge_all(items, request))
    rewards = [_reward(judgement) for judgement in judgements]
    logs = {
        "accepted": [float(judgement.accepted) for judgement in judgements],
        "abstained": [float(judgement.abstained) for judgement in judgements],
    }
    return json_response({"rewards": rewards, "scores": rewards, "extra_logs": logs})


@router.post("/v1/reward", summary="Reward an answer, for slime", responses=REWARD)
async def reward(body: SlimeRequest, request: JsonRequest) -> Response:
    """The reward of one answer, as a number. The query string can set `judge`, `votes` and `model`."""
    item = _Item(body.prompt, _without_end(body.response), body.label, "label")
    (judgement,) = await until_disconnect(request.scope, request.receive, _judge_all([item], request))
    return json_response(_reward(judgement))


def _reward(judgement: Judgement) -> float:
    return _ABSTAINED if judgement.value is None else judgement.value


def _answer(query: str, prompt: str, number: int) -> str:
    if not query.startswith(prompt):
        raise RequestError(f"query.{number}: does not begin with prompts.{number}", param=f"query.{number}")
    return _without_end(query[len(prompt) :])


def _without_end(answer: str) -> str:
    """The answer without the token that ended it."""
    tail = answer[-_TAIL:]
    return answer[: len(answer) - len(tail)] + _END.sub("", tail)


async def _judge_all(items: Sequence[_Item], request: JsonRequest) -> list[Judgement]:
    """Judge all answers, some at a time.

    Raises:
        RequestError: an option or a rubric is not valid, or there are too many answers; names it.
        BackendError: every vote on an answer failed.
    """
    options = _options(request)
    settings: Settings = request.app.state.settings
    key = key_of(request)
    votes = options.get("votes", settings.refine.votes)
    CallLimits(settings.limits, key).check_judgements(len(items), votes=votes if isinstance(votes, int) else 1)
    # A batch must not exceed its own key's quota.
    turns = asyncio.Semaphore(min(_AT_ONCE, key.concurrent_searches or _AT_ONCE))

    async def judge(item: _Item) -> Judgement:
        async with turns:
            own = JsonRequest(request.scope, request.receive)
            own.size = item.size(request.size)
            try:
                _, judgement, _ = await judge_answer(await own.off_loop(partial(_request_of, item, options)), own)
            except RequestError as error:
                raise RequestError(f"{item.location}: {error}", param=item.location) from error
            except RequestValidationError as error:
                message = invalid_request(error.errors()).message
                raise RequestError(f"{item.location}: {message}", param=item.location) from error
            return judgement

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(judge(item)) for item in items]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _options(request: JsonRequest) -> dict[str, Any]:
    """The options of the judge in the query string, because trainers cannot add to the body."""
    options: dict[str, Any] = {}
    for name, value in request.query_params.items():
        if name not in _OPTIONS:
            raise RequestError(f"{name}: unknown in the query string; there are {', '.join(_OPTIONS)}", param=name)
        options[name] = int(value) if name == "votes" and value.isascii() and value.isdigit() else value
    return options


def _request_of(item: _Item, options: dict[str, Any]) -> JudgeRequest:
    messages = [{"role": "user", "content": item.prompt}] if isinstance(item.prompt, str) else item.prompt
    rubric = _rubric(item.label)
    # Only the checklist judge reads items in words.
    judge = {"judge": "checklist"} if rubric.get("requirements") else {}
    try:
        # All votes are counted, because a trainer learns from the share.
        return JudgeRequest.model_validate(
            {"messages": messages, "response": item.response, "early_vote_stop": False, **judge, **options, **rubric}
        )
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error


def _rubric(label: Any) -> dict[str, Any]:
    """The checks and requirements of a label, or none: a label can be anything, such as a reference answer."""
    if isinstance(label, str) and label.lstrip().startswith("{"):
        try:
            label = json.loads(label)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(label, dict):
        return {}
    return {name: label[name] for name in ("checks", "requirements") if label.get(name)}
