"""POST /v1/refine: the refiner as a service."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from spar_core.types import Completion, Usage
from spar_server.answering import Given
from spar_server.asked_budget import BUDGET_HEADER, asked_budget
from spar_server.bodies import Envelope
from spar_server.chat_stream import ChatVoice
from spar_server.described import BUDGET_PARAMETER, CHAT
from spar_server.given import RefineRequest, split_answer
from spar_server.headers import header_of
from spar_server.json_body import JsonRequest, JsonRoute
from spar_server.pair import Pair
from spar_server.reply import defaults_of, plan_for, reply_stream, reply_whole

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/refine", summary="Improve an answer", responses=CHAT, openapi_extra=BUDGET_PARAMETER)
async def refine(body: RefineRequest, request: JsonRequest) -> Response:
    """A search that starts from a given answer. The response is a chat completion's, whole or streamed."""
    conversation, answer = split_answer(body.messages, body.response)
    chat = body.model_copy(update={"messages": conversation, "refine_budget": _budget(body, request)})
    plan = await plan_for(chat, request, given=Given(Completion(answer, "stop", Usage()), body.critique))
    envelope = Envelope(body.model)
    if body.stream:
        return await reply_stream(plan, request, ChatVoice(envelope, body.include_usage))
    return await reply_whole(plan, request, envelope.completion)


def _budget(body: RefineRequest, request: Request) -> int:
    """As in chat, but at least one node where nobody said otherwise: to be refined is what this endpoint is for."""
    pair: Pair = request.app.state.pair
    usual = defaults_of(request)
    defaults = usual.model_copy(update={"refine_budget": max(1, usual.refine_budget)})
    return asked_budget(body, header_of(request.scope, BUDGET_HEADER), model=pair.name, defaults=defaults).nodes
