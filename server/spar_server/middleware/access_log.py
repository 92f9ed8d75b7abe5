"""The access log: one line per request."""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.auth.access import key_name
from spar_server.http.response_start import on_start
from spar_server.metrics.logs import access_log

# Characters of a path that are logged.
_MAX_PATH: Final = 200


class AccessLogMiddleware:
    """ASGI middleware: logs one line per request once it is answered; status 499 means that the client left first."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not access_log.enabled:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 499

        def record_status(message: Message) -> None:
            nonlocal status
            status = message["status"]

        on_start(scope, record_status)
        try:
            await self._app(scope, receive, send)
        finally:
            access_log.write(
                method=scope["method"],
                path=scope["raw_path"][:_MAX_PATH].decode("latin-1"),
                status=status,
                ms=round(1000 * (time.perf_counter() - started), 1),
                key=key_name(scope),
            )
