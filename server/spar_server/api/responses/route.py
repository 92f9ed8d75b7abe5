"""POST /v1/responses."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_server.api.openapi import BUDGET_PARAMETER, RESPONSE
from spar_server.api.responses.body import ResponseBody
from spar_server.api.responses.request import CHATS_WORDS, ResponsesRequest
from spar_server.api.responses.stream import ResponseStreamFormat
from spar_server.errors import rename_fields
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.serving.runner import plan_request, respond, stream_response

router = APIRouter(route_class=JsonRoute)


@router.post(
    "/v1/responses",
    summary="Answer text with text",
    responses=RESPONSE,
    openapi_extra=BUDGET_PARAMETER,
)
async def responses(body: ResponsesRequest, request: JsonRequest) -> Response:
    """OpenAI's newer endpoint. Nothing is kept: a conversation is sent as a whole, each time."""
    try:
        plan = await plan_request(await request.off_loop(body.to_chat), request)
    except RequestError as error:
        raise rename_fields(error, CHATS_WORDS) from error
    response = ResponseBody(body)
    if body.stream:
        return await stream_response(plan, request, ResponseStreamFormat(response))
    return await respond(plan, request, response.finished)
