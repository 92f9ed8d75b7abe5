"""server/spar_server/middleware/drain.py"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.admission.draining import Draining, stopping_error
from spar_server.http.headers import OPEN_PATHS


class DrainMiddleware:
    """ASGI middleware: counts what runs, and refuses what comes once the server is leaving."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if self._draining.started:
            raise stopping_error()
        self._draining.running += 1
        try:
            await self._app(scope, receive, self._closing(send))
        finally:
            self._draining.running -= 1

    def _closing(self, send: Send) -> Send:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._draining.started:
                # A client that kept the connection would send its next request to a port that closes.
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        return closing
