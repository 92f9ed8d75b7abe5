"""Wait for a database as long as a client that asks for something stored will, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from spar_server.errors import ApiError, StoreError

_ANSWER_S: Final = 10.0


@asynccontextmanager
async def waiting_for(store: str, code: str, *, seconds: float | None = _ANSWER_S) -> AsyncIterator[None]:
    """Refuse the request if `store` is in trouble, or does not answer within `seconds`.

    Raises:
        ApiError: 503 with `code`.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except (StoreError, TimeoutError) as error:
        raise ApiError(503, f"the {store} does not answer", "api_error", code=code, retry_after=5) from error
