"""The interface of a pool's observer, such as a server's metrics. Endpoints are numbered as in the pool."""

from __future__ import annotations

from typing import Literal, Protocol

from spar_core.backends.pool.circuit_breaker import BreakerState

# `cancelled`: the caller gave up; not the endpoint's fault.
CallOutcome = Literal["ok", "rejected", "overloaded", "timeout", "unavailable", "protocol", "cancelled"]


class PoolObserver(Protocol):
    """Called synchronously; its methods must return quickly and not raise."""

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        """A call to an endpoint ended. Every attempt of a retried call counts."""
        ...

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        """A call that ended with `outcome` is about to be retried."""
        ...

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        """An endpoint's breaker changed to `state`; also called once for each endpoint at the start."""
        ...


class SilentObserver:
    """Ignores everything."""

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        pass

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        pass

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        pass
