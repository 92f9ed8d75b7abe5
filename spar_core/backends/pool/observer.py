"""Who watches a pool: metrics, in a server. Endpoints are told by their number in the pool."""

from __future__ import annotations

from typing import Literal, Protocol

from spar_core.backends.pool.circuit_breaker import BreakerState

# `cancelled`: nobody wanted the answer any more; no fault of the endpoint's.
CallOutcome = Literal["ok", "rejected", "overloaded", "timeout", "unavailable", "protocol", "cancelled"]


class PoolObserver(Protocol):
    """Told as it happens; must be quick and not fail."""

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        """A call to an endpoint ended. One that is tried again is several calls here."""
        ...

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        """A call that ended so is about to be tried again."""
        ...

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        """An endpoint's breaker is in this state now; told once for each endpoint at the start."""
        ...


class SilentObserver:
    """Watches nothing."""

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        pass

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        pass

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        pass
