"""How large a request may be."""

from __future__ import annotations

from functools import partial

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.http.headers import header_of
from spar_server.settings import Limits


class BodyLimit:
    """ASGI middleware: a body that grows over the limit is a 413, whether its length was announced or not.

    It counts what comes, so that the limit holds for chunked bodies and for a length that lies.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._most = limits.max_body_bytes
        # The one kind of exception that passes through the framework's reading of a body.
        self._too_large = partial(HTTPException, 413, f"the body is over this server's limit of {self._most} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header_of(scope, b"content-length") or ""
        announced, received = (int(length) if length.isdigit() else 0), 0

        async def counted() -> Message:
            nonlocal received
            if announced > self._most:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)
