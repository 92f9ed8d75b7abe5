"""POST /v1/responses: the endpoint."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_server.api.openapi import BUDGET_PARAMETER, RESPONSE
from spar_server.api.responses.body import ResponseBody
from spar_server.api.responses.request import FIELD_NAMES, ResponsesRequest
from spar_server.api.responses.stream import ResponseStreamFormat
from spar_server.errors import rename_fields
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.serving.runner import plan_request, respond, stream_response

router = APIRouter(route_class=JsonRoute)


@router.post(
    "/v1/responses",
    summary="Create a response",
    responses=RESPONSE,
    openapi_extra=BUDGET_PARAMETER,
)
async def responses(body: ResponsesRequest, request: JsonRequest) -> Response:
    """OpenAI's newer endpoint, without storage: send the whole conversation with each request."""
    try:
        plan = await plan_request(await request.off_loop(body.to_chat), request)
    except RequestError as error:
        raise rename_fields(error, FIELD_NAMES) from error
    response = ResponseBody(body, plan.trace_id)
    if body.stream:
        return await stream_response(plan, request, ResponseStreamFormat(response))
    return await respond(plan, request, response.finished)
