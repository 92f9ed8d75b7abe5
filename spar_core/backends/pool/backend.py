"""The pool as a backend.

A call acquires a slot at an endpoint (`slots.py`). A failure that may be temporary is retried, preferably at another
endpoint, as long as no part of the answer was delivered and the deadline, the call's retries and the pool's retry
budget allow it. Refused requests and malformed answers are not retried. An endpoint with several failures in a row gets
no calls until a background probe finds it alive (`health.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

from spar_core.backends.base import batches_of
from spar_core.backends.choices import completes_many, may_be_rejecting_n
from spar_core.backends.context import call_context
from spar_core.backends.pool.affinity import body_key, conversation_key
from spar_core.backends.pool.call import Call
from spar_core.backends.pool.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from spar_core.backends.pool.health import Health
from spar_core.backends.pool.observer import CallOutcome, PoolObserver, SilentObserver
from spar_core.backends.pool.replica import Endpoint, Replica
from spar_core.backends.pool.retry import RetryBudget, RetryPolicy
from spar_core.backends.pool.slots import Slot, Slots
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)
from spar_core.types import Completion, Delta, Message, Sampling

T = TypeVar("T")
# After a request for several completions failed, single ones are requested for this long: it may have been temporary.
_ONE_BY_ONE_S: Final = 600.0
_RETRIED: Final = (BackendTimeout, BackendUnavailable, BackendOverloaded)
_OUTCOMES: Final[dict[type[BackendError], CallOutcome]] = {
    BackendRejected: "rejected",
    BackendOverloaded: "overloaded",
    BackendTimeout: "timeout",
    BackendUnavailable: "unavailable",
    BackendProtocol: "protocol",
}


class PoolBackend:
    """One model on several replicas, named as the first replica names it.

        PoolBackend([OpenAIBackend(base_url=url, model="my-model") for url in urls], max_concurrency=64)

    Each replica gets at most `max_concurrency` calls at once. `clock` is that of the call context's deadlines; `sleep`
    and `chance`, a random number in [0, 1), determine the waits of retries and probes.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        max_concurrency: int = 256,
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        observer: PoolObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.model = replicas[0].model
        self._observer = observer or SilentObserver()
        self._policy = retry or RetryPolicy()
        self._budget = RetryBudget(self._policy)
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._endpoints = [
            Endpoint(
                number,
                replica,
                limit=max_concurrency,
                breaker=Breaker(breaker or BreakerPolicy(), partial(self._breaker_changed, number), clock=clock),
            )
            for number, replica in enumerate(replicas)
        ]
        supports_n = all(completes_many(replica) and replica.supports_n for replica in replicas)
        self._supports_n_from = float("-inf") if supports_n else float("inf")
        self._slots = Slots(self._endpoints, clock=clock)
        self._health = Health(self._endpoints, self._slots, clock=clock, sleep=sleep)
        for endpoint in self._endpoints:
            self._observer.breaker(endpoint.number, "closed")

    @property
    def supports_n(self) -> bool:
        return self._clock() >= self._supports_n_from

    @supports_n.setter
    def supports_n(self, supported: bool) -> None:
        self._supports_n_from = float("-inf") if supported else self._clock() + _ONE_BY_ONE_S

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._call(partial(conversation_key, messages), lambda r: r.complete(messages, sampling))

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._stream(partial(conversation_key, messages), lambda r: r.stream(messages, sampling))

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        async def ask(replica: Replica) -> list[Completion]:
            if not completes_many(replica):
                return [await replica.complete(messages, sampling)]
            return await replica.complete_many(messages, sampling, count)

        return await self._call(partial(conversation_key, messages), ask, completions=count, many=True)

    def stream_batches(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Sequence[Delta], None]:
        return self._stream(partial(conversation_key, messages), lambda r: batches_of(r, messages, sampling))

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        completions = _completions_of(body)
        return await self._call(partial(body_key, body), lambda r: r.forward(path, body), completions=completions)

    def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        completions = _completions_of(body)
        return self._stream(partial(body_key, body), lambda r: r.forward_stream(path, body), completions=completions)

    async def _call(
        self,
        key: Callable[[], str],
        ask: Callable[[Replica], Awaitable[T]],
        *,
        completions: int = 1,
        many: bool = False,
    ) -> T:
        call = self._new_call(key, completions, many)
        while True:
            slot = await self._acquire(call)
            try:
                with _Attempt(self, call, slot):
                    return await ask(slot.endpoint.replica)
            except BackendError as error:
                await self._before_retry(call, slot, error)

    async def _stream(
        self, key: Callable[[], str], ask: Callable[[Replica], AsyncGenerator[T, None]], *, completions: int = 1
    ) -> AsyncGenerator[T, None]:
        call = self._new_call(key, completions)
        while True:
            delivered = False
            slot = await self._acquire(call)
            try:
                with _Attempt(self, call, slot):
                    async with aclosing(ask(slot.endpoint.replica)) as pieces:
                        async for piece in pieces:
                            if not delivered and slot.endpoint.breaker.state == "half_open":
                                # Other calls need not wait for the end of a long answer.
                                slot.endpoint.breaker.record_success()
                            delivered = True
                            yield piece
                    return
            except BackendError as error:
                if delivered:
                    raise
                await self._before_retry(call, slot, error)

    async def ready(self) -> bool:
        """Whether an endpoint is alive; probes those that have not answered recently."""
        return await self._health.ready()

    async def aclose(self) -> None:
        await self._health.aclose()
        for endpoint in self._endpoints:
            await endpoint.replica.aclose()

    async def _acquire(self, call: Call) -> Slot:
        return await self._slots.acquire(
            call.key, tried=call.tried, deadline=call.deadline, caller=call.caller, completions=call.completions
        )

    def _new_call(self, key: Callable[[], str], completions: int, many: bool = False) -> Call:
        self._budget.called()
        context = call_context()
        # With one endpoint there is no choice.
        home = "" if len(self._endpoints) == 1 else context.affinity or key()
        return Call(home, context.deadline, context.caller, completions, many)

    def _begin_attempt(self, call: Call, slot: Slot) -> None:
        call.tried.add(slot.endpoint)
        self._health.on_start(slot.endpoint)

    def _end_attempt(self, call: Call, slot: Slot, error: BaseException | None) -> None:
        """Record an attempt's outcome, and what it shows about the endpoint."""
        outcome: CallOutcome = "cancelled"
        try:
            if error is None:
                outcome = "ok"
                self._health.on_success(call, slot)
            elif isinstance(error, BackendError):
                outcome = _outcome(error)
                self._health.on_failure(call, slot, error)
        finally:
            self._observer.called(slot.endpoint.number, outcome)
            self._slots.release(slot)
            self._health.on_end(slot.endpoint)

    async def _before_retry(self, call: Call, slot: Slot, error: BackendError) -> None:
        """Wait until the next attempt. Raises `error` if there is none."""
        if call.many and may_be_rejecting_n(error):
            raise error
        if not isinstance(error, _RETRIED) or call.retries >= self._policy.retries or not self._slots.any_alive:
            raise error
        wait = self._policy.backoff_s(call.retries, self._chance())
        elsewhere = self._slots.elsewhere(call.tried)
        if not elsewhere and isinstance(error, BackendOverloaded):
            # Only overload waits for a pause to end; after other failures new calls would not wait either.
            wait = max(wait, self._slots.pause_s())
            if wait > self._policy.longest_pause_s:
                raise error
        if call.deadline is not None and self._clock() + wait >= call.deadline:
            raise error
        # A lost connection moves work instead of adding any, and the breaker bounds how often that happens.
        moves = elsewhere and isinstance(error, BackendUnavailable) and error.status is None
        if not moves and not self._budget.spend():
            raise error
        call.retries += 1
        self._observer.retried(slot.endpoint.number, _outcome(error))
        await self._sleep(wait)

    def _breaker_changed(self, number: int, state: BreakerState) -> None:
        self._observer.breaker(number, state)
        if state == "open":
            self._health.on_open(self._endpoints[number])
        self._slots.dispatch()


class _Attempt:
    """One attempt of a call while the context is open. Cheaper than a generator: every call enters one."""

    __slots__ = ("_call", "_pool", "_slot")

    def __init__(self, pool: PoolBackend, call: Call, slot: Slot) -> None:
        self._pool, self._call, self._slot = pool, call, slot

    def __enter__(self) -> None:
        self._pool._begin_attempt(self._call, self._slot)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool._end_attempt(self._call, self._slot, error)


def _outcome(error: BackendError) -> CallOutcome:
    return _OUTCOMES.get(type(error), "unavailable")


def _completions_of(body: Mapping[str, Any]) -> int:
    """The number of completions of a request, over all its prompts; a list of numbers is one prompt of tokens."""
    prompt, each = body.get("prompt"), (body.get("n"), body.get("best_of"))
    prompts = len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list) else 1
    return prompts * max((count for count in each if isinstance(count, int) and count > 0), default=1)
