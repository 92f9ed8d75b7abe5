"""The places of a pool: which endpoint takes a call, and who waits for one.

A call goes home (`affinity.py`) unless its home is much busier than another endpoint. When all are full, calls wait,
and a place that comes free goes to the first of them that it suits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from spar_core.backends.pool.affinity import rendezvous
from spar_core.backends.pool.endpoint import Endpoint
from spar_core.errors import BackendTimeout, BackendUnavailable

# Much busier: more than twice as many calls as elsewhere and these. One judgement's votes, sent at once, share a prompt
# and belong together.
_HEADROOM: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A call's right to run at an endpoint, from an epoch of its breaker on; in spite of a pause, where it is `paused`.

    A call has one place at an endpoint in an epoch, however often it takes it.
    """

    endpoint: Endpoint
    epoch: int
    paused: bool = field(compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    key: str
    tried: Collection[Endpoint]
    place: asyncio.Future[Place]


class Places:
    """`clock` is the one of deadlines and pauses."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._waiting: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def any_alive(self) -> bool:
        """Whether there is an endpoint whose breaker is not open."""
        return any(endpoint.breaker.state != "open" for endpoint in self._endpoints)

    async def take(self, key: str, *, tried: Collection[Endpoint], deadline: float | None) -> Place:
        """A place, for a call that belongs to `key`; not where it was `tried`, if there is anywhere else.

        Raises:
            BackendUnavailable: every breaker is open.
            BackendTimeout: no place came free before the deadline.
        """
        if (place := self._free_place(key, tried)) is not None:
            return place
        if not self.any_alive:
            raise _nobody()
        waiter = _Waiter(key, tried, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
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
            self._waiting.remove(waiter)

    def give_back(self, place: Place) -> None:
        """The call is over."""
        place.endpoint.running -= 1
        place.endpoint.breaker.ended(place.epoch)
        self.hand_out()

    def hand_out(self) -> None:
        """Give free places to those who wait; call when there may be one, or when the last endpoint died."""
        if not self._waiting:
            return
        alive = self.any_alive
        for waiter in list(self._waiting):
            if waiter.place.done():
                continue
            if not alive:
                waiter.place.set_exception(_nobody())
            elif all(endpoint.full or not endpoint.breaker.admits for endpoint in self._endpoints):
                return
            elif (place := self._free_place(waiter.key, waiter.tried)) is not None:
                waiter.place.set_result(place)

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
            self.give_back(place.result())

    def _free_place(self, key: str, tried: Collection[Endpoint]) -> Place | None:
        now = self._clock()
        if len(self._endpoints) == 1:
            only = self._endpoints[0]
            return None if only.full or not only.breaker.admits else _place(only, now)
        admitting = [endpoint for endpoint in self._endpoints if endpoint.breaker.admits]
        willing = [endpoint for endpoint in admitting if endpoint.paused_until <= now] or admitting
        fresh = [endpoint for endpoint in willing if endpoint not in tried] or willing
        free = [endpoint for endpoint in fresh if not endpoint.full]
        if not free:
            return None
        return _place(free[0] if len(free) == 1 else _choose(free, key), now)


def _place(endpoint: Endpoint, now: float) -> Place:
    endpoint.running += 1
    return Place(endpoint, endpoint.breaker.begin(), paused=endpoint.paused_until > now)


def _choose(free: Sequence[Endpoint], key: str) -> Endpoint:
    home = max(free, key=lambda endpoint: rendezvous(key, endpoint.replica.name))
    least = min(free, key=lambda endpoint: endpoint.running)
    return home if home.running <= 2 * least.running + _HEADROOM else least


def _nobody() -> BackendUnavailable:
    return BackendUnavailable("no upstream is alive; they are probed until one is")
