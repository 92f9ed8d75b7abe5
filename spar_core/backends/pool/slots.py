"""The slots of a pool: which endpoint serves a call, and which call waits.

A call goes to its home (`affinity.py`) unless that is much busier than another endpoint. If all are full, calls wait. A
slot that becomes free goes to the caller with the fewest running calls for its weight: to its first waiting call that
the endpoint suits. So one caller's calls, however many wait, delay another's only until the next slot is free.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from spar_core.backends.context import NOBODY, Caller
from spar_core.backends.pool.affinity import rendezvous
from spar_core.backends.pool.replica import Endpoint
from spar_core.errors import BackendTimeout, BackendUnavailable
from spar_core.frozen import frozen

# A home is much busier if it has more than twice the calls of another endpoint plus these. The votes of one judgement,
# sent at once, share a prompt and belong together.
_HEADROOM: Final = 16


@frozen
class Slot:
    """A call's permission to run at an endpoint, in an epoch of its breaker. `paused` marks one during a pause.

    Slots of the same endpoint and epoch are equal, so a call that is retried there counts once. A slot counts as
    `completions` calls of its `caller`.
    """

    endpoint: Endpoint
    epoch: int
    paused: bool = field(compare=False)
    caller: str = field(default="", compare=False)
    completions: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    key: str
    tried: Collection[Endpoint]
    caller: Caller
    completions: int
    number: int
    slot: asyncio.Future[Slot]


class Slots:
    """All slots of a pool. `clock` is that of deadlines and pauses."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._clock = clock
        # By caller, in order of arrival; a dict removes any one in constant time.
        self._waiting: dict[str, dict[_Waiter, None]] = {}
        self._numbers = itertools.count()
        self._running: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def any_alive(self) -> bool:
        """Whether there is an endpoint whose breaker is not open."""
        return any(endpoint.breaker.state != "open" for endpoint in self._endpoints)

    async def acquire(
        self,
        key: str,
        *,
        tried: Collection[Endpoint],
        deadline: float | None,
        caller: Caller = NOBODY,
        completions: int = 1,
    ) -> Slot:
        """Wait for a slot for a call with the affinity `key`; not at an endpoint in `tried` if there is another.

        Raises:
            BackendUnavailable: every breaker is open.
            BackendTimeout: no slot became free before the deadline.
        """
        if self._has_room(caller, completions) and (endpoint := self._free_endpoint(key, tried)) is not None:
            return self._start(endpoint, caller, completions)
        if not self.any_alive:
            raise _none_alive()
        slot = asyncio.get_running_loop().create_future()
        waiter = _Waiter(key, tried, caller, completions, next(self._numbers), slot)
        self._waiting.setdefault(caller.name, {})[waiter] = None
        left = None if deadline is None else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(left):
                return await waiter.slot
        except TimeoutError as error:
            self._abandon(waiter)
            raise BackendTimeout("no upstream had capacity for the call in time") from error
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            self._remove(waiter)

    def release(self, slot: Slot) -> None:
        """End a call's use of its slot."""
        slot.endpoint.running -= 1
        slot.endpoint.breaker.end(slot.epoch)
        self._running[slot.caller] -= slot.completions
        if not self._running[slot.caller]:
            del self._running[slot.caller]
        self.dispatch()

    def dispatch(self) -> None:
        """Give free slots to waiting calls. Call this when a slot may be free or the last endpoint has failed."""
        if not self._waiting:
            return
        if not self.any_alive:
            self._fail_all()
            return
        unsuited: set[_Waiter] = set()
        while any(not endpoint.full and endpoint.breaker.admits for endpoint in self._endpoints):
            if (waiter := self._next(unsuited)) is None:
                return
            if (endpoint := self._free_endpoint(waiter.key, waiter.tried)) is None:
                unsuited.add(waiter)
            else:
                self._remove(waiter)
                waiter.slot.set_result(self._start(endpoint, waiter.caller, waiter.completions))

    def _next(self, unsuited: Collection[_Waiter]) -> _Waiter | None:
        """The waiter whose turn it is."""
        best: _Waiter | None = None
        for waiters in self._waiting.values():
            first = next((one for one in waiters if one not in unsuited and not one.slot.done()), None)
            if first is None or not self._has_room(first.caller, first.completions):
                continue
            if best is None or self._turn(first) < self._turn(best):
                best = first
        return best

    def _turn(self, waiter: _Waiter) -> tuple[float, int]:
        return self._running[waiter.caller.name] / waiter.caller.weight, waiter.number

    def _has_room(self, caller: Caller, completions: int) -> bool:
        """Whether a caller's share has room for `completions` more; a call that exceeds the whole share runs alone."""
        if caller.share >= 1 and caller.most_calls is None:
            return True
        running = self._running[caller.name]
        limit = max(1, int(caller.share * sum(endpoint.limit for endpoint in self._endpoints)))
        return not running or running + completions <= min(limit, caller.most_calls or limit)

    def _fail_all(self) -> None:
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.slot.done():
                    waiter.slot.set_exception(_none_alive())

    def _remove(self, waiter: _Waiter) -> None:
        waiters = self._waiting.get(waiter.caller.name, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiting.pop(waiter.caller.name, None)

    def elsewhere(self, tried: Collection[Endpoint]) -> bool:
        """Whether another endpoint than those in `tried` takes calls and is not paused."""
        now = self._clock()
        return any(e not in tried and e.breaker.admits and e.paused_until <= now for e in self._endpoints)

    def pause_s(self) -> float:
        """Seconds until the pause of the first endpoint that is alive ends."""
        now = self._clock()
        alive = [endpoint for endpoint in self._endpoints if endpoint.breaker.state != "open"]
        return max(0.0, min((endpoint.paused_until - now for endpoint in alive), default=0.0))

    def _abandon(self, waiter: _Waiter) -> None:
        """Stop waiting; a slot that was assigned at the same moment is released."""
        slot = waiter.slot
        if slot.done() and not slot.cancelled() and slot.exception() is None:
            self.release(slot.result())

    def _start(self, endpoint: Endpoint, caller: Caller, completions: int) -> Slot:
        endpoint.running += 1
        self._running[caller.name] += completions
        paused = endpoint.paused_until > self._clock()
        return Slot(endpoint, endpoint.breaker.begin(), paused, caller.name, completions)

    def _free_endpoint(self, key: str, tried: Collection[Endpoint]) -> Endpoint | None:
        if len(self._endpoints) == 1:
            only = self._endpoints[0]
            return None if only.full or not only.breaker.admits else only
        now = self._clock()
        admitting = [endpoint for endpoint in self._endpoints if endpoint.breaker.admits]
        willing = [endpoint for endpoint in admitting if endpoint.paused_until <= now] or admitting
        fresh = [endpoint for endpoint in willing if endpoint not in tried] or willing
        free = [endpoint for endpoint in fresh if not endpoint.full]
        if not free:
            return None
        return free[0] if len(free) == 1 else _choose(free, key)


def _choose(free: Sequence[Endpoint], key: str) -> Endpoint:
    home = max(free, key=lambda endpoint: rendezvous(key, endpoint.replica.name))
    least = min(free, key=lambda endpoint: endpoint.running)
    return home if home.running <= 2 * least.running + _HEADROOM else least


def _none_alive() -> BackendUnavailable:
    return BackendUnavailable("no upstream is alive; they are probed until one recovers")
