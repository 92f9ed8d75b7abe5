"""A request id for every response and its model calls: the client's own or a new one."""

from __future__ import annotations

import re
from random import getrandbits
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_core.backends.context import bind_calls
from spar_server.http.headers import header_of
from spar_server.http.response_start import call_hooks, on_start

_NAME: Final = b"x-request-id"
_SAFE: Final = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RequestIdMiddleware:
    """The outermost ASGI middleware: binds the request id, and adds it to the response's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        requested = header_of(scope, _NAME) or ""
        request_id = requested if _SAFE.fullmatch(requested) else f"{getrandbits(128):032x}"
        bind_calls(request_id=request_id)
        header = (_NAME, request_id.encode())

        def add_header(message: Message) -> None:
            message["headers"] = [*message.get("headers", ()), header]

        on_start(scope, add_header)
        await self._app(scope, receive, call_hooks(scope, send))
