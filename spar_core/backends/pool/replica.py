"""The members of a pool: replicas, which are backends with a health check, and their state."""

from __future__ import annotations

from typing import Protocol

from spar_core.backends.base import Backend, PassThrough
from spar_core.backends.pool.circuit_breaker import Breaker


class Replica(Backend, PassThrough, Protocol):
    """One server of a model."""

    @property
    def name(self) -> str:
        """A unique name, the same in every process; for logs and hashing, not for clients."""
        ...

    async def alive(self) -> bool:
        """Whether the server answers at all. Returns quickly and does not raise."""
        ...


class Endpoint:
    """A replica and its state: `running` of `limit` calls, no calls until `paused_until`, last alive at `seen_at`."""

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
