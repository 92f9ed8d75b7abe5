"""What a pool is made of: a backend that can be asked whether it lives."""

from __future__ import annotations

from typing import Protocol

from spar_core.backends.base import Backend, PassThrough
from spar_core.backends.pool.circuit_breaker import Breaker


class Replica(Backend, PassThrough, Protocol):
    """One server of a model."""

    @property
    def name(self) -> str:
        """Its own among its kind and the same in every process; for logs and hashes, not for clients."""
        ...

    async def alive(self) -> bool:
        """Whether the server answers at all; soon, and without an error."""
        ...


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
