"""Prometheus metrics of admission: admitted, waiting and refused requests. The configuration bounds the labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from spar_server.admission.brownout import Brownout
from spar_server.admission.draining import Draining
from spar_server.admission.lane import Lane
from spar_server.metrics.gauges import ComputedGauges

_SECONDS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
# Error codes that count as refusals; other errors are counted by status only.
_REFUSALS: Final = frozenset(
    {"invalid_api_key", "model_not_allowed", "rate_limit_exceeded", "server_overloaded", "server_stopping"}
)


class LoadMetrics:
    """Counters of admission, and gauges that are computed at every scrape."""

    def __init__(self, registry: CollectorRegistry, computed: ComputedGauges) -> None:
        self._computed = computed
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        state = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        self._admitted = cache(Counter("spar_admitted", "Admitted requests", ["key", "kind"], registry=registry).labels)
        self._refused = Counter("spar_refused", "Refused requests", ["key", "code"], registry=registry)
        self._wait = cache(
            Histogram(
                "spar_queue_wait_seconds",
                "Queue time of admitted requests",
                ["kind"],
                buckets=_SECONDS,
                registry=registry,
            ).labels
        )
        self._waiting = gauge("spar_queue_requests", "Waiting requests", ["kind"])
        self._running = gauge("spar_admission_cost_running", "Total cost of running requests", ["kind"])
        self._capacity = gauge("spar_admission_capacity", "Maximum total cost of running requests", ["kind"])
        self._level = state("spar_brownout_level", "From 0, full budgets, to 3, no budget")
        self._draining = state("spar_draining", "1 while the server is stopping")

    def watch(self, lanes: Mapping[str, Lane], *, brownout: Brownout, draining: Draining) -> None:
        for kind, lane in lanes.items():
            self._computed.add(self._waiting.labels(kind), partial(getattr, lane, "waiting"))
            self._computed.add(self._running.labels(kind), partial(getattr, lane, "running"))
            self._capacity.labels(kind).set(lane.capacity)
        self._computed.add(self._level, lambda: brownout.level)
        self._computed.add(self._draining, lambda: draining.started)

    def admitted(self, key: str, kind: str, waited_s: float) -> None:
        self._admitted(key, kind).inc()
        self._wait(kind).observe(waited_s)

    def refused(self, key: str, code: str | None) -> None:
        """Count a refusal; `key` is a key's name, or empty if it is unknown."""
        if code in _REFUSALS:
            self._refused.labels(key, code).inc()
