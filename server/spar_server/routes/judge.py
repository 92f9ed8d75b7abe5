"""POST /v1/judge: the judge as a service."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from spar_core.cutoff import Cutoff
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    RequestError,
)
from spar_core.judging import Judgement
from spar_server.answering import Plan
from spar_server.bodies import judgement_body
from spar_server.described import JUDGED
from spar_server.disconnect import until_disconnect
from spar_server.errors import reworded
from spar_server.gate import Gate
from spar_server.given import JudgeRequest, split_answer
from spar_server.json_body import JsonRequest, JsonRoute
from spar_server.metrics import Metrics
from spar_server.pair import Pair
from spar_server.reply import plan_for

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/judge", summary="Judge an answer", responses=JUDGED)
async def judge(body: JudgeRequest, request: JsonRequest) -> Response:
    """The votes on a given answer, their value and what to mend. `checks` are verified first: one that fails is a No
    without a vote."""
    pair: Pair = request.app.state.pair
    _, response = split_answer(body.messages, body.response)
    try:
        plan = await plan_for(body.to_chat(pair.name), request, judged=response)
    except RequestError as error:
        raise reworded(error, {"refine.": ""}) from error
    judgement = await until_disconnect(request.receive, _judged(plan, response, request))
    return JSONResponse(judgement_body(body.model or pair.name, plan, judgement))


async def _judged(plan: Plan, response: str, request: Request) -> Judgement:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.turn(plan, request) as admitted:
        with metrics.request("judge") as meter:
            judgement = await _judgement(admitted, response, gate.draining.cutoff)
            meter.judged(judgement)
    return judgement


async def _judgement(plan: Plan, response: str, cutoff: Cutoff) -> Judgement:
    """The votes, as far as they could be had.

    Raises:
        BackendError: not one could be had.
    """
    try:
        async with cutoff.timeout(plan.config.deadline_s):
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
