"""POST /v1/responses."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_server.answering import make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.json_body import JsonRoute
from spar_server.pair import Pair
from spar_server.reply import reply_stream, reply_whole
from spar_server.responses.bodies import ResponseBody
from spar_server.responses.request import ResponsesRequest, in_own_terms
from spar_server.responses.stream import ResponseVoice
from spar_server.settings import Settings

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/responses", summary="Answer text with text, refined within a budget")
async def responses(body: ResponsesRequest, request: Request) -> Response:
    """OpenAI's newer endpoint. Nothing is kept: a conversation is sent as a whole, each time."""
    pair: Pair = request.app.state.pair
    settings: Settings = request.app.state.settings
    chat = body.to_chat()
    try:
        plan = make_plan(chat, request.headers.get(BUDGET_HEADER), pair=pair, defaults=settings.refine)
    except RequestError as error:
        raise in_own_terms(error) from error
    response = ResponseBody(body)
    if body.stream:
        return await reply_stream(plan, request, ResponseVoice(response))
    return await reply_whole(plan, request, response.finished)
