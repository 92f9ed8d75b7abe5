"""Scripted replicas and a manual clock for tests of the pool."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from spar_core.backends.pool import PoolBackend
from spar_core.backends.pool.circuit_breaker import BreakerState
from spar_core.backends.pool.observer import CallOutcome
from spar_core.errors import BackendUnavailable
from spar_core.types import Completion, Delta, Message, Sampling, Usage

T = TypeVar("T")
HELLO = [Message("user", "Hi")]
POISON = [Message("user", "What no template can render")]
BROKEN = BackendUnavailable("upstream answered 500", status=500)
SAMPLING = Sampling()


class ManualClock:
    """A clock that `advance` moves; sleepers wake in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.now = until
        await settle()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; advances time while it sleeps."""
        task = asyncio.ensure_future(work)
        await settle()
        while not task.done():
            assert self._sleepers, "the work waits for something other than time"
            await self.advance(max(0.0, self._sleepers[0][0] - self.now))
        return task.result()


async def settle() -> None:
    """Run all tasks that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class FakeReplica:
    """Answers with the next of `outcomes`, a text or an error to raise, and with its name once they are used up.

    While `held` its calls wait. `after` is the text that a stream brings before its outcome. Every chat that says
    POISON makes it fail.
    """

    name: str = "a"
    model: str = "m"
    outcomes: list[str | BaseException] = field(default_factory=list)
    after: str = ""
    living: bool = True
    calls: int = 0
    probes: int = 0
    running: int = 0
    closed: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def hold(self) -> None:
        self.gate.clear()

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        text = ""
        async for delta in self.stream(messages, sampling):
            text += delta.text
        return Completion(text, "stop", Usage(1, 1))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        self.calls += 1
        self.running += 1
        outcome: str | BaseException = self.outcomes.pop(0) if self.outcomes else self.name
        if messages == POISON:
            outcome = BROKEN
        try:
            await self.gate.wait()
            if self.after:
                yield Delta(self.after)
            if isinstance(outcome, BaseException):
                raise outcome
            yield Delta(outcome)
            yield Delta(finish_reason="stop", usage=Usage(1, 1))
        finally:
            self.running -= 1

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"path": path, "text": (await self.complete([], SAMPLING)).text}

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(self.stream([], SAMPLING)) as deltas:
            async for delta in deltas:
                yield {"path": path, "text": delta.text}

    async def alive(self) -> bool:
        self.probes += 1
        return self.living

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Notes:
    """An observer that records every call."""

    calls: list[tuple[int, CallOutcome]] = field(default_factory=list)
    retries: list[tuple[int, CallOutcome]] = field(default_factory=list)
    breakers: list[tuple[int, BreakerState]] = field(default_factory=list)

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        self.calls.append((endpoint, outcome))

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        self.retries.append((endpoint, outcome))

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        self.breakers.append((endpoint, state))


@dataclass
class Pooled:
    """A pool under test with its injected dependencies."""

    replicas: list[FakeReplica]
    clock: ManualClock
    notes: Notes
    pool: PoolBackend

    @property
    def states(self) -> list[BreakerState]:
        """All states of the first replica's breaker."""
        return [state for endpoint, state in self.notes.breakers if endpoint == 0]

    async def ask(self, messages: Sequence[Message] = HELLO) -> str:
        return (await self.pool.complete(messages, SAMPLING)).text

    async def failures(self, number: int, messages: Sequence[Message] = HELLO) -> None:
        """Make `number` calls one by one and ignore their failures."""
        for _ in range(number):
            with suppress(Exception):
                await self.clock.finish(self.ask(messages))


def pooled(*replicas: FakeReplica, **settings: Any) -> Pooled:
    clock, notes = ManualClock(), Notes()
    defaults: dict[str, Any] = {"clock": clock, "sleep": clock.sleep, "chance": lambda: 0.5, "observer": notes}
    return Pooled(list(replicas), clock, notes, PoolBackend(replicas, **defaults | settings))
