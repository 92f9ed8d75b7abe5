"""Admission by cost: how much may run at once, whose turn it is, and when to say that the server is full."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from spar_server.admission.fair_queue import FairQueue, Ticket
from spar_server.errors import ApiError


@dataclass(eq=False, slots=True)
class _Waiter(Ticket):
    # An event and not a future, which a cancelled request would take with it before it has left the queue.
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    refused: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """A place in a lane: whose it is, what it costs, since when it is held and how long it was waited for."""

    key: str
    cost: int
    since: float
    waited_s: float = 0.0


class Lane:
    """What runs and waits of one kind. The cost of what runs is never more than `capacity`.

    A key has at most the part `key_share` of it, so that another finds room at once; a request that costs more than
    that is let in when nothing else of its key runs. When the queue is full its places go to the keys that have fewer
    of them: the newest of the key with the most gives way (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990).
    `changed` is told the load whenever it changes.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_queue: int,
        key_share: float = 1.0,
        changed: Callable[[float], None] = lambda load: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.running = 0
        self._most_of_key = max(1, int(capacity * key_share))
        self._of_key: Counter[str] = Counter()
        self._max_queue = max_queue
        self._changed = changed
        self._clock = clock
        self._queue = FairQueue()
        self._hold = _Hold()

    @property
    def waiting(self) -> int:
        """Requests."""
        return len(self._queue)

    @property
    def load(self) -> float:
        """The cost of what runs and waits, as a part of the capacity."""
        return (self.running + self._queue.cost) / self.capacity

    @property
    def expected_hold_s(self) -> float:
        """How long a request runs, as those that ended last did; 0 before the first has ended."""
        return self._hold.seconds

    def expected_wait_s(self, ticket: Ticket) -> float:
        """How long one that came now would wait.

        Those before it must end first, at the rate of the capacity over the time for which each holds its part; its own
        key's at the rate of what the key may have.
        """
        excess = self.running + self._queue.cost_before(ticket) + ticket.cost - self.capacity
        own = self._of_key[ticket.key] + self._queue.cost_of(ticket.key) + ticket.cost - self._most_of_key
        return max(0.0, excess / self.capacity, own / self._most_of_key) * self.expected_hold_s

    @asynccontextmanager
    async def slot(self, key: str, cost: int, *, weight: float, wait_s: float) -> AsyncIterator[float]:
        """A place in the lane from when it is this request's turn; the value is how long it waited.

        Raises:
            ApiError: 503; the queue is full, or the wait would be longer than `wait_s`, or was.
        """
        held = self.try_acquire(key, cost, weight=weight) or await self.enter(key, cost, weight=weight, wait_s=wait_s)
        try:
            yield held.waited_s
        finally:
            self.leave(held)

    def try_acquire(self, key: str, cost: int, *, weight: float) -> Permit | None:
        """A place, if nobody waits and there is one; to be given back by `leave`."""
        ticket = Ticket(key, min(cost, self._most_of_key), weight)
        if not self._has_room(ticket) or (self._queue and self._queue.head(self._within_share) is not None):
            return None
        self._queue.serve(ticket)
        self._begin(ticket)
        self._changed(self.load)
        return Permit(key, ticket.cost, self._clock())

    async def enter(self, key: str, cost: int, *, weight: float, wait_s: float) -> Permit:
        """A place when it is this request's turn, to be given back by `leave`.

        Raises:
            ApiError: as `slot` does.
        """
        came, cost = self._clock(), min(cost, self._most_of_key)
        await self._wait(Ticket(key, cost, weight), wait_s)
        began = self._clock()
        return Permit(key, cost, began, began - came)

    def leave(self, held: Permit) -> None:
        """The request has ended."""
        self._hold.add(self._clock() - held.since, held.cost / self.capacity)
        self._free(held.key, held.cost)

    async def _wait(self, ticket: Ticket, wait_s: float) -> None:
        if (expected := self.expected_wait_s(ticket)) > wait_s:
            raise full("the wait would be longer than this request may wait", expected)
        waiter = _Waiter(ticket.key, ticket.cost, ticket.weight)
        self._queue_up(waiter, expected)
        try:
            async with asyncio.timeout(wait_s):
                await waiter.turn.wait()
        except BaseException as error:
            self._withdraw(waiter)
            if isinstance(error, TimeoutError):
                raise full("this request has waited for as long as it may", self.expected_wait_s(ticket)) from error
            raise
        if waiter.refused:
            raise waiter.refused

    def _queue_up(self, waiter: _Waiter, expected_s: float) -> None:
        if len(self._queue) >= self._max_queue:
            last = self._queue.last_of_longest()
            if last is None or self._queue.waiting(last.key) <= self._queue.waiting(waiter.key) + 1:
                raise full("the queue is full", expected_s)
            assert isinstance(last, _Waiter)
            self._queue.remove(last)
            last.refused = full("the queue is full", self.expected_wait_s(last))
            last.turn.set()
        self._queue.push(waiter)
        self._changed(self.load)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Give back what a request that will not run has: its place in the queue, or its turn if that has come."""
        if not waiter.turn.is_set():
            self._queue.remove(waiter)
            self._let_in()
            self._changed(self.load)
        elif not waiter.refused:
            self._free(waiter.key, waiter.cost)

    def _free(self, key: str, cost: int) -> None:
        self.running -= cost
        self._of_key[key] -= cost
        self._let_in()
        if not self.running:
            self._of_key.clear()
            self._queue.rest()
        self._changed(self.load)

    def _let_in(self) -> None:
        while (waiter := self._queue.head(self._within_share)) and self.running + waiter.cost <= self.capacity:
            assert isinstance(waiter, _Waiter)
            self._queue.pop(waiter)
            self._begin(waiter)
            waiter.turn.set()

    def _begin(self, ticket: Ticket) -> None:
        self.running += ticket.cost
        self._of_key[ticket.key] += ticket.cost

    def _has_room(self, ticket: Ticket) -> bool:
        return self.running + ticket.cost <= self.capacity and self._within_share(ticket)

    def _within_share(self, ticket: Ticket) -> bool:
        """Whether it must wait for no more than its turn; with the whole lane for its share a key need not look."""
        most = self._most_of_key
        return most >= self.capacity or self._of_key[ticket.key] + ticket.cost <= most


@dataclass(slots=True)
class _Hold:
    """How long requests run: a mean by cost that follows the last few lanes' worth of them."""

    _sum: float = 0.0
    _weight: float = 0.0

    @property
    def seconds(self) -> float:
        return self._sum / self._weight if self._weight else 0.0

    def add(self, seconds: float, share: float) -> None:
        self._sum += (seconds - self._sum) * share
        self._weight += (1 - self._weight) * share


def full(message: str, retry_after: float) -> ApiError:
    return ApiError(503, message, "overloaded_error", code="server_overloaded", retry_after=retry_after)
