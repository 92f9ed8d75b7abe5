"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from spar_server.answering import make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.bodies import Envelope
from spar_server.chat_stream import ChatVoice
from spar_server.json_body import JsonRoute
from spar_server.pair import Pair
from spar_server.reply import reply_stream, reply_whole
from spar_server.schemas import ChatRequest
from spar_server.settings import Settings

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/chat/completions", summary="Answer a chat, refined within a budget")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """OpenAI's endpoint. `refine_budget` buys refinement; `refine` says how it is spent."""
    pair: Pair = request.app.state.pair
    settings: Settings = request.app.state.settings
    plan = make_plan(body, request.headers.get(BUDGET_HEADER), pair=pair, defaults=settings.refine)
    envelope = Envelope(body.model)
    if body.stream:
        return await reply_stream(plan, request, ChatVoice(envelope, body.include_usage))
    return await reply_whole(plan, request, envelope.completion)
