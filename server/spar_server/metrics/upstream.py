"""Prometheus metrics of the upstreams, by model role and by the index of the replica's URL."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Mapping
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from spar_core.backends.pool import BreakerState, CallOutcome, PoolObserver

_STATES: Final[dict[BreakerState, int]] = {"closed": 0, "half_open": 1, "open": 2}


class UpstreamMetrics:
    """Creates an observer for the pool of each role."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # How many endpoints of each role there have been.
        self._endpoints: Counts[str] = Counts()
        labels = ["role", "endpoint"]
        self.calls = cache(
            Counter(
                "spar_upstream_calls", "Attempted model calls by outcome", [*labels, "outcome"], registry=registry
            ).labels
        )
        self.retries = Counter(
            "spar_upstream_retries",
            "Retried calls by replica and outcome of the failed attempt",
            [*labels, "outcome"],
            registry=registry,
        )
        self.breakers = Gauge(
            "spar_upstream_breaker",
            "0 closed, 1 half open, 2 open (gets no calls)",
            labels,
            registry=registry,
            multiprocess_mode="livemax",
        )

        self._ready = Gauge(
            "spar_model_ready",
            "1 while the role's model takes calls, checked at every scrape",
            ["role"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def report_ready(self, roles: Mapping[str, bool]) -> None:
        """Record which roles' models take calls."""
        for role, ready in roles.items():
            self._ready.labels(role).set(ready)

    def of(self, role: str) -> PoolObserver:
        return _RoleObserver(self, role)

    def keep(self, role: str, endpoints: int) -> None:
        """Close the breakers of a role's endpoints beyond this number, which there are no longer."""
        for endpoint in range(endpoints, self._endpoints[role]):
            self.breakers.labels(role, str(endpoint)).set(_STATES["closed"])

    def breaker(self, role: str, endpoint: int, state: BreakerState) -> None:
        self._endpoints[role] = max(self._endpoints[role], endpoint + 1)
        self.breakers.labels(role, str(endpoint)).set(_STATES[state])


class _RoleObserver:
    def __init__(self, metrics: UpstreamMetrics, role: str) -> None:
        self._metrics = metrics
        self._role = role

    def called(self, endpoint: int, outcome: CallOutcome) -> None:
        self._metrics.calls(self._role, str(endpoint), outcome).inc()

    def retried(self, endpoint: int, outcome: CallOutcome) -> None:
        self._metrics.retries.labels(self._role, str(endpoint), outcome).inc()

    def breaker(self, endpoint: int, state: BreakerState) -> None:
        self._metrics.breaker(self._role, endpoint, state)
