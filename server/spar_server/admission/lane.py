"""Admission by cost: how much runs at once, who is next, and when a request is refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from spar_server.admission.fair_queue import FairQueue, Ticket
from spar_server.errors import ApiError


@dataclass(eq=False, slots=True)
class _Waiter(Ticket):
    # An event rather than a future: cancelling a request would cancel its future before it has left the queue.
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    refused: ApiError | None = None


class Permit(NamedTuple):
    """Room in a lane for one request: its key, its cost, when it was granted, and how long the request waited."""

    key: str
    cost: int
    since: float
    waited_s: float = 0.0


class Lane:
    """A semaphore with a fair queue: the running requests of one kind never cost more than `capacity` together.

        permit = await lane.acquire("team-a", 12, weight=1.0, wait_s=30)
        try:
            ...
        finally:
            lane.release(permit)

    Each key can use at most the fraction `key_share`, so that other keys find room at once; a request that costs more
    is admitted when nothing else of its key runs. When the queue is full, a key with fewer waiting requests displaces
    the newest request of the key with the most (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990). `on_load` is
    called with the load whenever it changes.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_queue: int,
        key_share: float = 1.0,
        on_load: Callable[[float], None] = lambda load: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.running = 0
        self._set_share(key_share)
        self._key_cost: Counter[str] = Counter()
        self._max_queue = max_queue
        self._on_load = on_load
        self._clock = clock
        self._queue = FairQueue()
        self._hold = _Hold()

    def share_out(self, key_share: float) -> None:
        """Change the fraction that a key can use. What runs is not affected."""
        self._set_share(key_share)
        self._admit_waiting()

    def _set_share(self, key_share: float) -> None:
        self._key_capacity = max(1, int(self.capacity * key_share))

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return len(self._queue)

    @property
    def load(self) -> float:
        """The cost of all running and waiting requests as a fraction of the capacity."""
        return (self.running + self._queue.cost) / self.capacity

    @property
    def expected_hold_s(self) -> float:
        """How long a request runs, estimated from the latest ones; 0 before the first has ended."""
        return self._hold.seconds

    def expected_wait_s(self, ticket: Ticket) -> float:
        """How long a request that arrived now would wait.

        The requests before it must end first, at a rate of the capacity per expected hold; those of its own key at a
        rate of the key's capacity.
        """
        excess = self.running + self._queue.cost_before(ticket) + ticket.cost - self.capacity
        own = self._key_cost[ticket.key] + self._queue.cost_of(ticket.key) + ticket.cost - self._key_capacity
        return max(0.0, excess / self.capacity, own / self._key_capacity) * self.expected_hold_s

    def try_acquire(self, key: str, cost: int, *, weight: float) -> Permit | None:
        """A permit if nobody is waiting and there is room, else None."""
        ticket = Ticket(key, min(cost, self._key_capacity), weight)
        if not self._fits(ticket) or (self._queue and self._queue.head(self._within_share) is not None):
            return None
        self._queue.serve(ticket)
        self._admit(ticket)
        self._on_load(self.load)
        return Permit(key, ticket.cost, self._clock())

    async def acquire(self, key: str, cost: int, *, weight: float, wait_s: float) -> Permit:
        """Wait up to `wait_s` seconds for a permit. Whoever gets one must `release` it.

        Raises:
            ApiError: 503; the queue is full, or the wait was or would be longer than `wait_s`.
        """
        if permit := self.try_acquire(key, cost, weight=weight):
            return permit
        arrived, cost = self._clock(), min(cost, self._key_capacity)
        await self._wait(Ticket(key, cost, weight), wait_s)
        admitted = self._clock()
        return Permit(key, cost, admitted, admitted - arrived)

    def release(self, permit: Permit) -> None:
        """Return a permit at the end of its request."""
        self._hold.add(self._clock() - permit.since, permit.cost / self.capacity)
        self._free(permit.key, permit.cost)

    async def _wait(self, ticket: Ticket, wait_s: float) -> None:
        if (expected := self.expected_wait_s(ticket)) > wait_s:
            raise overloaded("the wait would be longer than this request can wait", expected)
        waiter = _Waiter(ticket.key, ticket.cost, ticket.weight)
        self._enqueue(waiter, expected)
        try:
            async with asyncio.timeout(wait_s):
                await waiter.turn.wait()
        except BaseException as error:
            self._withdraw(waiter)
            if isinstance(error, TimeoutError):
                raise overloaded("this request has waited as long as it can", self.expected_wait_s(ticket)) from error
            raise
        if waiter.refused:
            raise waiter.refused

    def _enqueue(self, waiter: _Waiter, expected_s: float) -> None:
        if len(self._queue) >= self._max_queue:
            last = self._queue.last_of_longest()
            if last is None or self._queue.waiting(last.key) <= self._queue.waiting(waiter.key) + 1:
                raise overloaded("the queue is full", expected_s)
            assert isinstance(last, _Waiter)
            self._queue.remove(last)
            last.refused = overloaded("the queue is full", self.expected_wait_s(last))
            last.turn.set()
        self._queue.push(waiter)
        self._on_load(self.load)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Remove a request that will not run from the queue, or return its room if it was just admitted."""
        if not waiter.turn.is_set():
            self._queue.remove(waiter)
            self._admit_waiting()
            self._on_load(self.load)
        elif not waiter.refused:
            self._free(waiter.key, waiter.cost)

    def _free(self, key: str, cost: int) -> None:
        self.running -= cost
        self._key_cost[key] -= cost
        self._admit_waiting()
        if not self.running:
            self._key_cost.clear()
            self._queue.rest()
        self._on_load(self.load)

    def _admit_waiting(self) -> None:
        if not self._queue:
            return
        while (waiter := self._queue.head(self._within_share)) and self.running + waiter.cost <= self.capacity:
            assert isinstance(waiter, _Waiter)
            self._queue.pop(waiter)
            self._admit(waiter)
            waiter.turn.set()

    def _admit(self, ticket: Ticket) -> None:
        self.running += ticket.cost
        self._key_cost[ticket.key] += ticket.cost

    def _fits(self, ticket: Ticket) -> bool:
        return self.running + ticket.cost <= self.capacity and self._within_share(ticket)

    def _within_share(self, ticket: Ticket) -> bool:
        """Whether its key's share has room for it. A key whose share is the whole lane needs no check.

        A waiting request can cost more than the share if that has become smaller; it fits when nothing else runs.
        """
        limit = self._key_capacity
        if limit >= self.capacity or self._key_cost[ticket.key] + ticket.cost <= limit:
            return True
        return ticket.cost > limit and not self._key_cost[ticket.key]


@dataclass(slots=True)
class _Hold:
    """How long requests run: an exponential mean, weighted by cost, over the last few capacities' worth of them."""

    _sum: float = 0.0
    _weight: float = 0.0

    @property
    def seconds(self) -> float:
        return self._sum / self._weight if self._weight else 0.0

    def add(self, seconds: float, share: float) -> None:
        self._sum += (seconds - self._sum) * share
        self._weight += (1 - self._weight) * share


def overloaded(message: str, retry_after: float) -> ApiError:
    return ApiError(503, message, "overloaded_error", code="server_overloaded", retry_after=retry_after)
