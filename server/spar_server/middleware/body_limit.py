"""Limits on the size of one body, and of all long bodies together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.admission.lane import Lane, Permit
from spar_server.http.headers import header_of
from spar_server.settings import ApiKey, Limits

# Shorter bodies are not counted: the limits on connections bound them.
_SHORT: Final = 64 * 1024
_MAX_WAITING: Final = 1_000_000
_NONE: Final[Mapping[str, int]] = {}


class BodyLimitMiddleware:
    """ASGI middleware: refuses a body over the limit with a 413, whether or not its length was announced.

    It counts the received bytes, so the limit also holds for chunked bodies and false lengths. Long bodies are read
    only while all of them together are within `max_bodies_bytes`, and those of a key within its share; others wait.
    Bodies to the paths of `streamed`, which nobody holds as a whole, have the limit there instead of all this.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        *,
        streamed: Mapping[str, int] = _NONE,
        max_wait_s: float,
        key_share: float = 1.0,
    ) -> None:
        self._app = app
        self._streamed = streamed
        self._limit = limits.max_body_bytes
        # One unit of capacity is the size of an uncounted body.
        capacity = max(1, limits.max_bodies_bytes // _SHORT)
        self._lane = Lane(capacity=capacity, max_queue=_MAX_WAITING, key_share=key_share)
        self._max_wait_s = max_wait_s

    def share_out(self, key_share: float) -> None:
        """Change the fraction of the memory for bodies that a key can use."""
        self._lane.share_out(key_share)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        streamed = self._streamed.get(scope["path"])
        limit = self._limit if streamed is None else streamed
        length = header_of(scope, b"content-length") or ""
        announced, received = (int(length) if length.isdigit() else 0), 0
        permit: Permit | None = None

        async def counted() -> Message:
            nonlocal received, permit
            if announced > limit:
                raise _too_large(limit)
            if streamed is None and permit is None and max(announced, received) > _SHORT:
                # Without an announced length, assume the maximum.
                permit = await self._reserve(scope["state"]["key"], announced or limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            if permit is not None:
                self._lane.release(permit)

    async def _reserve(self, key: ApiKey, size: int) -> Permit:
        """Wait for room for `size` bytes, which is reserved until the request has ended.

        Raises:
            ApiError: 503; the wait was or would be too long.
        """
        cost = 1 + size // _SHORT
        return await self._lane.acquire(key.name, cost, weight=key.weight, wait_s=self._max_wait_s)


def _too_large(limit: int) -> HTTPException:
    # The only exception that FastAPI does not wrap while it reads a body.
    return HTTPException(413, f"the body is over this server's limit of {limit} bytes")
