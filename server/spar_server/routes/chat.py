"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from spar_core.search.events import Event
from spar_server.answering import Plan, make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.auth import allow_model, key_of
from spar_server.bodies import Envelope
from spar_server.deadlines import READ_TIMEOUT_HEADER, answer_within
from spar_server.disconnect import EventStream, until_disconnect
from spar_server.gate import Gate
from spar_server.keys import defaults_for
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
    key = key_of(request)
    settings.limits.check_messages(body.messages)
    defaults = defaults_for(key, settings.refine)
    plan = make_plan(body, request.headers.get(BUDGET_HEADER), pair=pair, defaults=defaults)
    allow_model(key, pair.name)
    if not body.stream:
        plan = plan.due_within(answer_within(request.headers.get(READ_TIMEOUT_HEADER)))
    plan.bind_calls()
    envelope = Envelope(body.model)
    if not body.stream:
        return JSONResponse(await until_disconnect(request.receive, _whole(plan, envelope, request, metrics)))
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    frames = _frames(plan, envelope, request, metrics, include_usage=include_usage)
    head = await until_disconnect(request.receive, anext(frames))
    return EventStream(told(head, frames))


async def _whole(plan: Plan, envelope: Envelope, request: Request, metrics: Metrics) -> dict[str, Any]:
    def ignore(event: Event) -> None:
        """Nobody watches an answer that is not streamed."""

    gate: Gate = request.app.state.gate
    async with gate.turn(plan, request) as admitted:
        with metrics.request(admitted.kind) as meter:
            answers = await admitted.search(ignore)
            meter.answered(admitted, answers)
    return envelope.completion(admitted, answers)


async def _frames(
    plan: Plan, envelope: Envelope, request: Request, metrics: Metrics, *, include_usage: bool
) -> AsyncGenerator[str, None]:
    gate: Gate = request.app.state.gate
    async with gate.turn(plan, request) as admitted:
        if admitted.config.budget:
            frames = stream_search(admitted, envelope, include_usage=include_usage, metrics=metrics)
        else:
            passed = stream_pass_through(admitted, envelope, include_usage=include_usage, metrics=metrics)
            frames = gate.draining.until_cutoff(passed)
        async with aclosing(frames):
            async for frame in frames:
                yield frame
