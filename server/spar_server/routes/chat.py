"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from spar_core.search.events import Event
from spar_server.answering import Plan, make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.bodies import Envelope
from spar_server.disconnect import EventStream, until_disconnect
from spar_server.metrics import Metrics
from spar_server.pair import Pair
from spar_server.schemas import ChatRequest
from spar_server.settings import Settings
from spar_server.streaming import stream_pass_through, stream_search, told

router = APIRouter()


@router.post("/v1/chat/completions", summary="Answer a chat, refined within a budget")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """OpenAI's endpoint. `refine_budget` buys refinement; `refine` says how it is spent."""
    pair: Pair = request.app.state.pair
    settings: Settings = request.app.state.settings
    metrics: Metrics = request.app.state.metrics
    plan = make_plan(body, request.headers.get(BUDGET_HEADER), pair=pair, defaults=settings.refine)
    plan.bind_calls()
    envelope = Envelope(body.model)
    if not body.stream:
        return await _whole(plan, envelope, request, metrics)
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    stream = stream_search if plan.config.budget else stream_pass_through
    frames = stream(plan, envelope, include_usage=include_usage, metrics=metrics)
    head = await until_disconnect(request.receive, anext(frames))
    return EventStream(told(head, frames))


async def _whole(plan: Plan, envelope: Envelope, request: Request, metrics: Metrics) -> Response:
    def ignore(event: Event) -> None:
        """Nobody watches an answer that is not streamed."""

    with metrics.request(plan.kind) as meter:
        answers = await until_disconnect(request.receive, plan.search(ignore))
        meter.answered(plan, answers)
    return JSONResponse(envelope.completion(plan, answers))
