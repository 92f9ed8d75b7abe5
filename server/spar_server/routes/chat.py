"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from spar_server.bodies import Envelope
from spar_server.chat_stream import ChatVoice
from spar_server.described import BUDGET_PARAMETER, CHAT
from spar_server.json_body import JsonRequest, JsonRoute
from spar_server.reply import plan_for, reply_stream, reply_whole
from spar_server.schemas import ChatRequest

router = APIRouter(route_class=JsonRoute)


@router.post(
    "/v1/chat/completions",
    summary="Answer a chat",
    responses=CHAT,
    openapi_extra=BUDGET_PARAMETER,
)
async def chat_completions(body: ChatRequest, request: JsonRequest) -> Response:
    """OpenAI's endpoint. `refine_budget` buys refinement; `refine` says how it is spent."""
    plan = await plan_for(body, request)
    envelope = Envelope(body.model)
    if body.stream:
        return await reply_stream(plan, request, ChatVoice(envelope, body.include_usage))
    return await reply_whole(plan, request, envelope.completion)
