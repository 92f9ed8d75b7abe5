"""A backend for long jobs: if an upstream is overloaded, calls wait and are retried.

The number of calls in flight adapts to the upstream by additive increase and multiplicative decrease, as in congestion
control (Chiu and Jain, 1989): one more after a limit's worth of answers, half as many after a refusal.
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
# Longer requested pauses are cut to this, the longest pause of a pool's endpoint.
_LONGEST_PAUSE_S: Final = 60.0


class AdaptiveBackend:
    """`backend` with at most `in_flight` calls at once; calls that it refuses as overloaded are retried.

    If nothing has been answered for `patience_s` seconds, the refusal is raised.
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
        self._max = in_flight
        self._limit = float(in_flight)
        self._patience_s = patience_s
        self._sleep = sleep
        self._running = 0
        self._free = asyncio.Condition()
        self._answered = self._decreased = time.monotonic()

    @property
    def supports_n(self) -> bool:
        return self._backend.supports_n

    @supports_n.setter
    def supports_n(self, supported: bool) -> None:
        self._backend.supports_n = supported

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._retry_overloaded(lambda: self._backend.complete(messages, sampling))

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        return await self._retry_overloaded(lambda: self._backend.complete_many(messages, sampling, count))

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._backend.stream(messages, sampling)

    async def aclose(self) -> None:
        await self._backend.aclose()

    async def _retry_overloaded(self, ask: Callable[[], Awaitable[T]]) -> T:
        first_attempt = time.monotonic()
        while True:
            started = await self._start()
            try:
                answer = await ask()
            except BackendOverloaded as error:
                self._decrease(started)
                if time.monotonic() - max(first_attempt, self._answered) >= self._patience_s:
                    raise
                pause = min(error.retry_after or _PAUSE_S, _LONGEST_PAUSE_S)
            else:
                self._answered = time.monotonic()
                self._limit = min(self._max, self._limit + 1 / self._limit)
                return answer
            finally:
                await self._end()
            await self._sleep(pause)

    async def _start(self) -> float:
        """Wait for room below the limit; returns the time at which the call may start."""
        async with self._free:
            await self._free.wait_for(lambda: self._running < max(1, int(self._limit)))
            self._running += 1
        return time.monotonic()

    async def _end(self) -> None:
        self._running -= 1
        async with self._free:
            self._free.notify_all()

    def _decrease(self, started: float) -> None:
        # Refusals of calls that started before the last decrease are due to the old limit.
        if started >= self._decreased:
            self._limit = max(1.0, self._limit / 2)
            self._decreased = time.monotonic()
