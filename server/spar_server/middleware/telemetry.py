"""Telemetry of the requests to models; only a server that sends telemetry has this middleware."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from spar_core.backends.context import call_context
from spar_server.auth.access import key_name
from spar_server.http.headers import header_of
from spar_server.telemetry import names
from spar_server.telemetry.telemetry import Telemetry

_OPERATIONS: Final = {
    "/v1/chat/completions": names.CHAT,
    "/v1/responses": names.CHAT,
    "/v1/refine": names.CHAT,
    "/v1/judge": names.CHAT,
    "/v1/completions": names.TEXT_COMPLETION,
    "/v1/embeddings": names.EMBEDDINGS,
}


class TelemetryMiddleware:
    """ASGI middleware: observes each request to a model, from its arrival to the end of its answer."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = _OPERATIONS.get(scope.get("path", ""))
        if operation is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        parent = header_of(scope, b"traceparent")
        request = self._telemetry.open_request(operation, parent, parent and header_of(scope, b"tracestate"))
        error: str | None = None
        try:
            await self._app(scope, receive, send)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            status = scope.get("state", {}).get("error_status")
            self._telemetry.close_request(
                request,
                key=key_name(scope),
                request_id=call_context().request_id,
                error=error if status is None else str(status),
            )
