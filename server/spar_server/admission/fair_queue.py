"""Whose turn it is among those who wait: start-time fair queueing.

Goyal, Vin and Cheng, "Start-time Fair Queueing" (SIGCOMM 1996): each key's requests form a flow. The first of a flow
carries a start tag, the later of the queue's virtual time when it came and the finish tag of its flow's last request;
its finish tag is its start tag plus its cost over the key's weight. The lowest start tag goes next, and the virtual
time is that tag. So every key gets cost in proportion to its weight however much the others ask for, and one who asked
for nothing has neither credit nor debt.

Tags are given when a request becomes the first of its flow, so that one who leaves the queue costs its key nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the queue: of whom, how much it costs, and how heavily the key weighs."""

    key: str
    cost: int
    weight: float = 1.0

    @property
    def span(self) -> float:
        return self.cost / self.weight


@dataclass(slots=True)
class _Flow:
    # With each one's number in order of arrival. A dict keeps its order, and lets go of any one at once.
    waiting: dict[Ticket, int] = field(default_factory=dict)
    start: float = 0.0
    finish: float = 0.0


class FairQueue:
    """It keeps a flow's last finish tag for each key it has seen; keys are bounded by configuration."""

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
        """Of all that wait."""
        return self._cost

    def push(self, ticket: Ticket) -> None:
        flow = self._flows.setdefault(ticket.key, _Flow())
        self._count += 1
        flow.waiting[ticket] = self._count
        self._length += 1
        self._cost += ticket.cost
        if len(flow.waiting) == 1:
            self._head(flow)

    def head(self, may: Callable[[Ticket], bool] = lambda ticket: True) -> Ticket | None:
        """Whose turn it is among the keys whose next request `may` go; among equals, who came first."""
        first, best = None, None
        for flow in self._backlogged():
            ticket, number = next(iter(flow.waiting.items()))
            if may(ticket) and (best is None or (flow.start, number) < best):
                first, best = ticket, (flow.start, number)
        return first

    def pop(self, ticket: Ticket | None = None) -> Ticket:
        """Serve the head, or the first of a key that goes before it because the head may not."""
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
        """Push it and pop it again, of a queue in which nobody waits who may go."""
        flow = self._flows.setdefault(ticket.key, _Flow())
        self._time = flow.start = max(self._time, flow.finish)
        flow.finish = flow.start + ticket.span
        self._last_finish = max(self._last_finish, flow.finish)

    def rest(self) -> None:
        """Forget who had how much: nobody waits, and all that was served has ended."""
        self._time = self._last_finish

    def remove(self, ticket: Ticket) -> None:
        """Let one go that was not served. Whoever comes up for it has the place that its key has waited for."""
        self._take(self._flows[ticket.key], ticket)

    def last_of_longest(self) -> Ticket | None:
        """The newest ticket of the key that waits with the most."""
        flow = max(self._backlogged(), key=lambda flow: len(flow.waiting), default=None)
        return next(reversed(flow.waiting)) if flow else None

    def waiting(self, key: str) -> int:
        return len(self._flows[key].waiting) if key in self._flows else 0

    def cost_of(self, key: str) -> int:
        """What waits of one key."""
        return sum(ticket.cost for ticket in self._flows[key].waiting) if key in self._flows else 0

    def cost_before(self, ticket: Ticket) -> int:
        """The cost of those who would be served before `ticket`, if it came now and nobody after it."""
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
