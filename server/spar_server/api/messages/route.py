"""POST /v1/messages: the endpoint."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_server.api.messages.body import MessageBody
from spar_server.api.messages.request import FIELD_NAMES, MessagesRequest
from spar_server.api.messages.stream import MessageStreamFormat
from spar_server.api.openapi import BUDGET_PARAMETER, MESSAGE
from spar_server.errors import rename_fields
from spar_server.http.headers import header_of
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.serving.runner import plan_request, respond, stream_response

# The first version of the API whose streams have the events that are sent here. Versions are dates.
_FIRST_VERSION: Final = "2023-06-01"
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

router = APIRouter(route_class=JsonRoute)


@router.post(
    "/v1/messages",
    summary="Create a message",
    responses=MESSAGE,
    openapi_extra=BUDGET_PARAMETER,
)
async def messages(body: MessagesRequest, request: JsonRequest) -> Response:
    """Anthropic's endpoint, with tools and streams. The key can also be sent as `x-api-key`."""
    version = header_of(request.scope, b"anthropic-version") or _FIRST_VERSION
    if not _VERSION.fullmatch(version) or version < _FIRST_VERSION:
        raise RequestError(f"anthropic-version: must be {_FIRST_VERSION} or later", param="anthropic-version")
    try:
        plan = await plan_request(await request.off_loop(body.to_chat), request)
    except RequestError as error:
        raise rename_fields(error, FIELD_NAMES) from error
    message = MessageBody(body, plan.trace_id)
    if body.stream:
        return await stream_response(plan, request, MessageStreamFormat(message))
    return await respond(plan, request, message.finished)
