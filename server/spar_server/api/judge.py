"""POST /v1/judge, which judges an answer: its request schema and endpoint."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from spar_core.budget import Budget
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    RequestError,
)
from spar_core.judge import Judgement, JudgeName
from spar_core.types import Usage
from spar_server.api.chat import judgement_body
from spar_server.api.openapi import JUDGED
from spar_server.api.refine import EXAMPLE_MESSAGES
from spar_server.errors import rename_fields
from spar_server.http.disconnect import until_disconnect
from spar_server.http.headers import add_error_headers
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair
from spar_server.schemas import (
    ChatMessage,
    ChatRequest,
    CheckRequest,
    Flag,
    Number,
    Requirement,
    Votes,
    Whole,
    split_answer,
)
from spar_server.serving.bill import spent_headers
from spar_server.serving.gate import Gate
from spar_server.serving.plan import Allowance, Plan
from spar_server.serving.runner import plan_request


class JudgeRequest(BaseModel):
    """`POST /v1/judge`. Without `response`, the last message is judged; it must be the assistant's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": EXAMPLE_MESSAGES,
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
    judge: JudgeName | None = None
    requirements: list[Requirement] = Field(default_factory=list, max_length=32)
    seed: Whole | None = None

    def to_chat(self, model: str) -> ChatRequest:
        """The chat request whose answer is judged. `model`, the server's own, is the default."""
        conversation, _ = split_answer(self.messages, self.response)
        options: dict[str, Any] = self.model_dump(
            include={"votes", "threshold", "early_vote_stop", "checks", "judge", "requirements"}, exclude_none=True
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
    """Return the votes on an answer, their value and a critique.

    The `checks` run first: if one fails, the verdict is No without any vote.
    """
    pair: ServedPair = request.app.state.pair
    started = time.monotonic()
    plan, judgement, usage = await until_disconnect(request.scope, request.receive, judge_answer(body, request))
    content = judgement_body(body.model or pair.name, plan, judgement, usage)
    return JSONResponse(content, headers=spent_headers(started, usage, usage))


async def judge_answer(body: JudgeRequest, request: JsonRequest) -> tuple[Plan, Judgement, Usage]:
    """Judge an answer; returns the plan, the judgement and what its calls used.

    Raises:
        ApiError, RequestError: the request is not valid, or over a limit.
        BackendError: every vote failed.
    """
    pair: ServedPair = request.app.state.pair
    _, response = split_answer(body.messages, body.response)
    started = time.monotonic()
    try:
        plan = await plan_request(body.to_chat(pair.name), request, judged=response)
    except RequestError as error:
        raise rename_fields(error, {"refine.": ""}) from error
    budget = Budget(cost=plan.cost_bound)
    judgement = await _run(plan, response, request, budget, started)
    return plan, judgement, budget.usage.get("judge", Usage())


async def _run(plan: Plan, response: str, request: Request, budget: Budget, started: float) -> Judgement:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.admit(plan, request) as allowance:
        with metrics.request("judge") as meter:
            try:
                judgement = await _judgement(plan, response, allowance, budget)
            except BackendError:
                usage = budget.usage.get("judge", Usage())
                add_error_headers(request.scope, spent_headers(started, usage, usage))
                raise
            meter.judged(judgement, budget)
            if (telemetry := request.app.state.telemetry) is not None:
                telemetry.judged(plan, judgement)
    return judgement


async def _judgement(plan: Plan, response: str, allowance: Allowance, budget: Budget) -> Judgement:
    """Collect the votes.

    Raises:
        BackendError: every vote failed.
    """
    try:
        with allowance.cutoff.timeout(allowance.deadline_s):
            judgement = await plan.build_judge().judge(
                plan.conversation, response, checks=plan.checks, seed=plan.config.seed, budget=budget
            )
    except TimeoutError as error:
        raise BackendTimeout("the deadline came before the judgement") from error
    if judgement.failed:
        raise _failure(judgement)
    return judgement


def _failure(judgement: Judgement) -> BackendError:
    """The error for a judgement whose votes all failed, from the first of them."""
    first = judgement.votes[0]
    message = f"every vote failed: {first.error}"
    if first.status in (429, 503):
        return BackendOverloaded(message, status=first.status)
    if first.status in (400, 413, 422):
        return BackendRejected(message, status=first.status)
    return BackendUnavailable(message, status=first.status)
