"""How large a request may be, and all long ones together."""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.admission.lane import Lane, Permit
from spar_server.http.headers import header_of
from spar_server.settings import ApiKey, Limits

# Shorter bodies are not counted: the limits of connections bound them.
_SHORT: Final = 64 * 1024
_MOST_WAITING: Final = 1_000_000


class BodyLimitMiddleware:
    """ASGI middleware: a body that grows over the limit is a 413, whether its length was announced or not.

    It counts what comes, so that the limit holds for chunked bodies and for a length that lies. Long bodies are read
    while all that are under way are within `max_bodies_bytes`, and a key's within its share; others wait unread.
    """

    def __init__(self, app: ASGIApp, limits: Limits, *, max_wait_s: float, key_share: float = 1.0) -> None:
        self._app = app
        self._most = limits.max_body_bytes
        # One unit is what need not be counted.
        capacity = max(1, limits.max_bodies_bytes // _SHORT)
        self._lane = Lane(capacity=capacity, max_queue=_MOST_WAITING, key_share=key_share)
        self._max_wait_s = max_wait_s
        # The one kind of exception that passes through the framework's reading of a body.
        self._too_large = partial(HTTPException, 413, f"the body is over this server's limit of {self._most} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header_of(scope, b"content-length") or ""
        announced, received = (int(length) if length.isdigit() else 0), 0
        permit: Permit | None = None

        async def counted() -> Message:
            nonlocal received, permit
            if announced > self._most:
                raise self._too_large()
            if permit is None and max(announced, received) > _SHORT:
                # A length that is not announced may be anything.
                permit = await self._room(scope["state"]["key"], announced or self._most)
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._too_large()
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            if permit is not None:
                self._lane.release(permit)

    async def _room(self, key: ApiKey, size: int) -> Permit:
        """Wait until there is room for so many bytes, which are held until the request has ended.

        Raises:
            ApiError: 503; the wait would be longer than a request may wait, or was.
        """
        cost = 1 + size // _SHORT
        return await self._lane.acquire(key.name, cost, weight=key.weight, wait_s=self._max_wait_s)
