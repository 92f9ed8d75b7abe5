"""POST /v1/judge: the judge as a service."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    RequestError,
)
from spar_core.judge import Judgement
from spar_server.api.chat import judgement_body
from spar_server.api.openapi import JUDGED
from spar_server.api.refine import _EXAMPLE
from spar_server.errors import rename_fields
from spar_server.http.disconnect import until_disconnect
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import Pair
from spar_server.schemas import ChatMessage, ChatRequest, CheckRequest, Flag, Number, Votes, Whole, split_answer
from spar_server.serving.gate import Gate
from spar_server.serving.plan import Allowance, Plan
from spar_server.serving.runner import plan_request


class JudgeRequest(BaseModel):
    """`POST /v1/judge`. Without `response` the last message, an assistant's, is judged."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": _EXAMPLE,
                "response": "The river, by a lamp, runs east.",
                "votes": 5,
                "checks": [{"id": "keywords:existence", "kwargs": {"keywords": ["lamp"]}}],
            }
        },
    )

    model: str | None = None
    messages: list[ChatMessage] = Field(min_length=1)
    response: str | None = None
    votes: Votes | None = None
    threshold: Number | None = Field(default=None, ge=0, lt=1)
    early_vote_stop: Flag | None = None
    checks: list[CheckRequest] = Field(default_factory=list, max_length=32)
    seed: Whole | None = None

    def to_chat(self, model: str) -> ChatRequest:
        """The chat whose answer is judged; nothing of it is to be answered. `model` is the server's own."""
        conversation, _ = split_answer(self.messages, self.response)
        options: dict[str, Any] = self.model_dump(
            include={"votes", "threshold", "early_vote_stop", "checks"}, exclude_none=True
        )
        try:
            return ChatRequest(
                model=self.model or model,
                messages=conversation,
                seed=self.seed,
                refine_budget=0,
                refine=options,  # type: ignore[arg-type]
            )
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error


router = APIRouter(route_class=JsonRoute)


@router.post("/v1/judge", summary="Judge an answer", responses=JUDGED)
async def judge(body: JudgeRequest, request: JsonRequest) -> Response:
    """The votes on a given answer, their value and what to mend. `checks` are verified first: one that fails is a No
    without a vote."""
    pair: Pair = request.app.state.pair
    _, response = split_answer(body.messages, body.response)
    try:
        plan = await plan_request(body.to_chat(pair.name), request, judged=response)
    except RequestError as error:
        raise rename_fields(error, {"refine.": ""}) from error
    judgement = await until_disconnect(request.receive, _judged(plan, response, request))
    return JSONResponse(judgement_body(body.model or pair.name, plan, judgement))


async def _judged(plan: Plan, response: str, request: Request) -> Judgement:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.admit(plan, request) as allowance:
        with metrics.request("judge") as meter:
            judgement = await _judgement(plan, response, allowance)
            meter.judged(judgement)
    return judgement


async def _judgement(plan: Plan, response: str, allowance: Allowance) -> Judgement:
    """The votes, as far as they could be had.

    Raises:
        BackendError: not one could be had.
    """
    try:
        async with allowance.cutoff.timeout(allowance.deadline_s):
            judgement = await plan.judge.judge(plan.conversation, response, checks=plan.checks, seed=plan.config.seed)
    except TimeoutError as error:
        raise BackendTimeout("the deadline came before the judgement") from error
    if judgement.failed:
        raise _failure(judgement)
    return judgement


def _failure(judgement: Judgement) -> BackendError:
    """Why no vote could be had, by the first."""
    first = judgement.votes[0]
    message = f"no vote could be had: {first.error}"
    if first.status in (429, 503):
        return BackendOverloaded(message, status=first.status)
    if first.status in (400, 413, 422):
        return BackendRejected(message, status=first.status)
    return BackendUnavailable(message, status=first.status)
