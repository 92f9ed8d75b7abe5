"""A backend for long jobs: where an upstream says that it is overloaded, a call waits and is made again.

How many calls are in flight follows what the upstream takes, by additive increase and multiplicative decrease, as in
congestion control (Chiu and Jain, 1989): one more for each limit's worth of answers, half as many after a refusal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from spar_core.backends.pool import PoolBackend
from spar_core.errors import BackendOverloaded
from spar_core.types import Completion, Delta, Message, Sampling

T = TypeVar("T")
_PATIENCE_S: Final = 600.0
_PAUSE_S: Final = 1.0
# An upstream that asks for an hour may be well in a minute; as long as that a pool keeps calls away from it.
_LONGEST_PAUSE_S: Final = 60.0


class AdaptiveBackend:
    """`backend` with at most `in_flight` calls at once; one that is refused as too much is made again.

    When nothing has been answered for `patience_s` seconds, the refusal is the call's error.
    """

    def __init__(
        self,
        backend: PoolBackend,
        *,
        in_flight: int,
        patience_s: float = _PATIENCE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = backend.model
        self._backend = backend
        self._most = in_flight
        self._limit = float(in_flight)
        self._patience_s = patience_s
        self._sleep = sleep
        self._running = 0
        self._free = asyncio.Condition()
        self._answered = self._slowed = time.monotonic()

    @property
    def supports_n(self) -> bool:
        return self._backend.supports_n

    @supports_n.setter
    def supports_n(self, takes: bool) -> None:
        self._backend.supports_n = takes

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._patiently(lambda: self._backend.complete(messages, sampling))

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        return await self._patiently(lambda: self._backend.complete_many(messages, sampling, count))

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._backend.stream(messages, sampling)

    async def aclose(self) -> None:
        await self._backend.aclose()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        asked = time.monotonic()
        while True:
            began = await self._begin()
            try:
                answer = await ask()
            except BackendOverloaded as error:
                self._slow(began)
                if time.monotonic() - max(asked, self._answered) >= self._patience_s:
                    raise
                pause = min(error.retry_after or _PAUSE_S, _LONGEST_PAUSE_S)
            else:
                self._answered = time.monotonic()
                self._limit = min(self._most, self._limit + 1 / self._limit)
                return answer
            finally:
                await self._end()
            await self._sleep(pause)

    async def _begin(self) -> float:
        """Wait for a place; the time at which it was had."""
        async with self._free:
            await self._free.wait_for(lambda: self._running < max(1, int(self._limit)))
            self._running += 1
        return time.monotonic()

    async def _end(self) -> None:
        self._running -= 1
        async with self._free:
            self._free.notify_all()

    def _slow(self, began: float) -> None:
        # Calls that were under way when the limit fell are refused for the old one.
        if began >= self._slowed:
            self._limit = max(1.0, self._limit / 2)
            self._slowed = time.monotonic()
