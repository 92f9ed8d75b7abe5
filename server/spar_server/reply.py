"""A request planned, and its plan carried out for the client that waits: streamed in its API's voice, or whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from spar_core.search import Answers
from spar_core.search.events import Event
from spar_server.answering import Plan, make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.disconnect import EventStream, until_disconnect
from spar_server.metrics import Metrics
from spar_server.schemas import ChatRequest
from spar_server.settings import Settings
from spar_server.streaming import Voice, stream_pass_through, stream_search, told


def plan_for(chat: ChatRequest, request: Request) -> Plan:
    """What the client gets that sent `request`, which stands for `chat`. Raises as `make_plan` does."""
    settings: Settings = request.app.state.settings
    return make_plan(chat, request.headers.get(BUDGET_HEADER), pair=request.app.state.pair, defaults=settings.refine)


async def reply_whole(plan: Plan, request: Request, body: Callable[[Plan, Answers], dict[str, Any]]) -> Response:
    """The answers in one `body`."""

    def ignore(event: Event) -> None:
        """Nobody watches an answer that is not streamed."""

    metrics: Metrics = request.app.state.metrics
    with metrics.request(plan.kind) as meter:
        answers = await until_disconnect(request.receive, plan.search(ignore))
        meter.answered(plan, answers)
    return JSONResponse(body(plan, answers))


async def reply_stream(plan: Plan, request: Request, voice: Voice) -> Response:
    """The answers as a stream of events; what fails before the first of them is a status."""
    stream = stream_pass_through if plan.streams_draft else stream_search
    frames = stream(plan, voice, request.app.state.metrics)
    head = await until_disconnect(request.receive, anext(frames))
    return EventStream(told(head, frames, voice.failure))
