"""Prometheus metrics of batches: how many run, and what became of them and their requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from spar_server.metrics.gauges import ComputedGauges

# How a batch ends.
Ending = Literal["completed", "failed", "expired", "cancelled"]
_OUTCOMES: Final = {False: "completed", True: "failed"}


class BatchMetrics:
    """The batches that this process runs, and whether it can."""

    def __init__(self, registry: CollectorRegistry, computed: ComputedGauges) -> None:
        self._computed = computed
        self._running = Gauge(
            "spar_batches_running", "Batches that are being run", registry=registry, multiprocess_mode="livesum"
        )
        self._up = Gauge(
            "spar_batch_store_up",
            "0 while batches cannot be run, because of their database",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._up.set(1)
        self._ended = Counter("spar_batches_ended", "Batches by how they ended", ["status"], registry=registry)
        self._lines = Counter(
            "spar_batch_requests",
            "Answered requests of batches by outcome: completed, failed",
            ["outcome"],
            registry=registry,
        )
        # A rate needs the series from before the first one.
        for status in get_args(Ending):
            self._ended.labels(status)
        for outcome in _OUTCOMES.values():
            self._lines.labels(outcome)

    def watch(self, running: Callable[[], int]) -> None:
        self._computed.add(self._running, running)

    def answered(self, *, failed: bool) -> None:
        self._lines.labels(_OUTCOMES[failed]).inc()

    def ended(self, status: str) -> None:
        self._ended.labels(status).inc()

    def up(self, runs: bool) -> None:
        self._up.set(runs)
