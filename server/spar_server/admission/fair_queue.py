"""Start-time fair queueing: which waiting request is next.

Goyal, Vin and Cheng, "Start-time Fair Queueing" (SIGCOMM 1996): each key's requests form a flow. The first request of
a flow has a start tag, the maximum of the queue's virtual time at its arrival and the finish tag of the flow's previous
request; its finish tag is the start tag plus its cost over the key's weight. The request with the lowest start tag is
served next, and the virtual time becomes that tag. Every key is thus served in proportion to its weight, whatever the
others request, and an idle key gathers neither credit nor debt.

Tags are assigned when a request becomes the first of its flow, so one that leaves the queue costs its key nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Ticket:
    """A queued request: its key, its cost, and the weight of the key."""

    key: str
    cost: int
    weight: float = 1.0

    @property
    def span(self) -> float:
        return self.cost / self.weight


@dataclass(slots=True)
class _Flow:
    # Maps each ticket to its arrival number. A dict keeps the order and removes any entry in constant time.
    waiting: dict[Ticket, int] = field(default_factory=dict)
    start: float = 0.0
    finish: float = 0.0


class FairQueue:
    """Keeps the last finish tag of every key that it has seen; the configuration bounds the number of keys."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow] = {}
        self._time = 0.0
        self._last_finish = 0.0
        self._count = 0
        self._length = 0
        self._cost = 0

    def __len__(self) -> int:
        return self._length

    @property
    def cost(self) -> int:
        """The total cost of all waiting requests."""
        return self._cost

    def push(self, ticket: Ticket) -> None:
        flow = self._flows.setdefault(ticket.key, _Flow())
        self._count += 1
        flow.waiting[ticket] = self._count
        self._length += 1
        self._cost += ticket.cost
        if len(flow.waiting) == 1:
            self._head(flow)

    def head(self, eligible: Callable[[Ticket], bool] = lambda ticket: True) -> Ticket | None:
        """The next request among those that are first of their key and `eligible`; of equals, the oldest."""
        first, best = None, None
        for flow in self._backlogged():
            ticket, number = next(iter(flow.waiting.items()))
            if eligible(ticket) and (best is None or (flow.start, number) < best):
                first, best = ticket, (flow.start, number)
        return first

    def pop(self, ticket: Ticket | None = None) -> Ticket:
        """Serve the head, or `ticket`, the first request of another key, if the head is not eligible."""
        ticket = ticket or self.head()
        assert ticket is not None
        flow = self._flows[ticket.key]
        self._time = max(self._time, flow.start)
        flow.finish = flow.start + ticket.span
        self._last_finish = max(self._last_finish, flow.finish)
        self._take(flow, ticket)
        if flow.waiting:
            self._head(flow)
        return ticket

    def serve(self, ticket: Ticket) -> None:
        """Serve a request at once, without queueing it: no waiting request is eligible."""
        flow = self._flows.setdefault(ticket.key, _Flow())
        self._time = flow.start = max(self._time, flow.finish)
        flow.finish = flow.start + ticket.span
        self._last_finish = max(self._last_finish, flow.finish)

    def rest(self) -> None:
        """Reset the shares: nothing is waiting, and everything that was served has ended."""
        self._time = self._last_finish

    def remove(self, ticket: Ticket) -> None:
        """Remove a request that was not served. The next one of its key inherits its position."""
        self._take(self._flows[ticket.key], ticket)

    def last_of_longest(self) -> Ticket | None:
        """The newest request of the key with the most waiting requests."""
        flow = max(self._backlogged(), key=lambda flow: len(flow.waiting), default=None)
        return next(reversed(flow.waiting)) if flow else None

    def waiting(self, key: str) -> int:
        return len(self._flows[key].waiting) if key in self._flows else 0

    def cost_of(self, key: str) -> int:
        """The cost of the waiting requests of one key."""
        return sum(ticket.cost for ticket in self._flows[key].waiting) if key in self._flows else 0

    def cost_before(self, ticket: Ticket) -> int:
        """The cost of the requests that would be served before `ticket` if it arrived now."""
        flow = self._flows.get(ticket.key, _Flow())
        start = flow.start if flow.waiting else max(self._time, flow.finish)
        before = 0
        for each in flow.waiting:
            start += each.span
            before += each.cost
        for other in self._backlogged():
            if other is flow:
                continue
            tag = other.start
            for each in other.waiting:
                if tag > start:
                    break
                before += each.cost
                tag += each.span
        return before

    def _backlogged(self) -> Iterator[_Flow]:
        return (flow for flow in self._flows.values() if flow.waiting)

    def _take(self, flow: _Flow, ticket: Ticket) -> None:
        del flow.waiting[ticket]
        self._length -= 1
        self._cost -= ticket.cost

    def _head(self, flow: _Flow) -> None:
        flow.start = max(self._time, flow.finish)
