"""Refuse new requests while the server is stopping, and answer those that it cuts off."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.admission.draining import Draining, stopping_error
from spar_server.http.headers import OPEN_PATHS
from spar_server.http.response_start import on_start


class DrainMiddleware:
    """ASGI middleware: counts running requests, and refuses new ones once the server is stopping."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if self._draining.started:
            raise stopping_error()
        begun = False

        def close_connection(message: Message) -> None:
            nonlocal begun
            begun = True
            if self._draining.started:
                # Otherwise the client would send its next request to a port that is about to close.
                MutableHeaders(scope=message)["connection"] = "close"

        on_start(scope, close_connection)
        generation = self._draining.generation
        generation.running += 1
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError as error:
            if begun or not self._draining.started:
                raise
            # The server waits no longer, for instance for the rest of a body.
            raise stopping_error() from error
        finally:
            generation.running -= 1
