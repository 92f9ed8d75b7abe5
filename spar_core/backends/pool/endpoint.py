"""One replica as its pool sees it."""

from __future__ import annotations

from spar_core.backends.pool.breaker import Breaker
from spar_core.backends.pool.replica import Replica


class Endpoint:
    """`running` calls of at most `limit`. Until `paused_until` it wants to be left alone; at `seen_at` it lived."""

    def __init__(self, number: int, replica: Replica, *, limit: int, breaker: Breaker) -> None:
        self.number = number
        self.replica = replica
        self.limit = limit
        self.breaker = breaker
        self.running = 0
        self.paused_until = float("-inf")
        self.seen_at = float("-inf")

    @property
    def full(self) -> bool:
        return self.running >= self.limit
