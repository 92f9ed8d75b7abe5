"""The places of a pool: which endpoint takes a call, and who waits for one.

A call goes home (`affinity.py`) unless its home is much busier than another endpoint. When all are full, calls wait,
and a place that comes free goes to the caller who has the fewest calls for its weight: to its first call that the place
suits. So one caller's calls, however many wait, hold up another's no longer than until the next place is free.
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

# Much busier: more than twice as many calls as elsewhere and these. One judgement's votes, sent at once, share a prompt
# and belong together.
_HEADROOM: Final = 16


@dataclass(frozen=True, slots=True)
class Slot:
    """A call's right to run at an endpoint, from an epoch of its breaker on; in spite of a pause, where it is `paused`.

    A call has one place at an endpoint in an epoch, however often it takes it. It is the caller's, to whom it counts as
    the `completions` that it asks for.
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
    place: asyncio.Future[Slot]


class Slots:
    """`clock` is the one of deadlines and pauses."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._clock = clock
        # By caller, in the order in which they came. A dict lets go of any one at once.
        self._waiting: dict[str, dict[_Waiter, None]] = {}
        self._numbers = itertools.count()
        self._held: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def any_alive(self) -> bool:
        """Whether there is an endpoint whose breaker is not open."""
        return any(endpoint.breaker.state != "open" for endpoint in self._endpoints)

    async def take(
        self,
        key: str,
        *,
        tried: Collection[Endpoint],
        deadline: float | None,
        caller: Caller = NOBODY,
        completions: int = 1,
    ) -> Slot:
        """A place, for a call that belongs to `key`; not where it was `tried`, if there is anywhere else.

        Raises:
            BackendUnavailable: every breaker is open.
            BackendTimeout: no place came free before the deadline.
        """
        if self._may_hold(caller, completions) and (endpoint := self._free_endpoint(key, tried)) is not None:
            return self._place(endpoint, caller, completions)
        if not self.any_alive:
            raise _nobody()
        place = asyncio.get_running_loop().create_future()
        waiter = _Waiter(key, tried, caller, completions, next(self._numbers), place)
        self._waiting.setdefault(caller.name, {})[waiter] = None
        left = None if deadline is None else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(left):
                return await waiter.place
        except TimeoutError as error:
            self._abandon(waiter)
            raise BackendTimeout("no upstream had room for the call in time") from error
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            self._forget(waiter)

    def release(self, place: Slot) -> None:
        """The call is over."""
        place.endpoint.running -= 1
        place.endpoint.breaker.ended(place.epoch)
        self._held[place.caller] -= place.completions
        if not self._held[place.caller]:
            del self._held[place.caller]
        self.dispatch()

    def dispatch(self) -> None:
        """Give free places to those who wait; call when there may be one, or when the last endpoint died."""
        if not self._waiting:
            return
        if not self.any_alive:
            self._send_away()
            return
        unsuited: set[_Waiter] = set()
        while any(not endpoint.full and endpoint.breaker.admits for endpoint in self._endpoints):
            if (waiter := self._next(unsuited)) is None:
                return
            if (endpoint := self._free_endpoint(waiter.key, waiter.tried)) is None:
                unsuited.add(waiter)
            else:
                self._forget(waiter)
                waiter.place.set_result(self._place(endpoint, waiter.caller, waiter.completions))

    def _next(self, unsuited: Collection[_Waiter]) -> _Waiter | None:
        """Whose turn it is."""
        best: _Waiter | None = None
        for waiters in self._waiting.values():
            first = next((one for one in waiters if one not in unsuited and not one.place.done()), None)
            if first is None or not self._may_hold(first.caller, first.completions):
                continue
            if best is None or self._turn(first) < self._turn(best):
                best = first
        return best

    def _turn(self, waiter: _Waiter) -> tuple[float, int]:
        return self._held[waiter.caller.name] / waiter.caller.weight, waiter.number

    def _may_hold(self, caller: Caller, completions: int) -> bool:
        """Whether a caller's share has room for so many more; a call that is larger than all of it runs alone."""
        if caller.share >= 1 and caller.most_calls is None:
            return True
        held = self._held[caller.name]
        most = max(1, int(caller.share * sum(endpoint.limit for endpoint in self._endpoints)))
        return not held or held + completions <= min(most, caller.most_calls or most)

    def _send_away(self) -> None:
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.place.done():
                    waiter.place.set_exception(_nobody())

    def _forget(self, waiter: _Waiter) -> None:
        waiters = self._waiting.get(waiter.caller.name, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiting.pop(waiter.caller.name, None)

    def elsewhere(self, tried: Collection[Endpoint]) -> bool:
        """Whether there is an endpoint that was not tried, takes calls and asked for no pause."""
        now = self._clock()
        return any(e not in tried and e.breaker.admits and e.paused_until <= now for e in self._endpoints)

    def pause_s(self) -> float:
        """How long until an endpoint that lives wants to be called."""
        now = self._clock()
        alive = [endpoint for endpoint in self._endpoints if endpoint.breaker.state != "open"]
        return max(0.0, min((endpoint.paused_until - now for endpoint in alive), default=0.0))

    def _abandon(self, waiter: _Waiter) -> None:
        """A waiter gives up; a place that it was given in the same moment is not lost."""
        place = waiter.place
        if place.done() and not place.cancelled() and place.exception() is None:
            self.release(place.result())

    def _place(self, endpoint: Endpoint, caller: Caller, completions: int) -> Slot:
        endpoint.running += 1
        self._held[caller.name] += completions
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


def _nobody() -> BackendUnavailable:
    return BackendUnavailable("no upstream is alive; they are probed until one is")
