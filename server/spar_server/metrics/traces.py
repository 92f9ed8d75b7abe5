"""Prometheus metrics of the trace store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from spar_server.metrics.gauges import ComputedGauges

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Why a trace is not stored. `withheld` is the redaction hook's decision, the others are losses.
Reason = Literal["queue_full", "too_large", "redaction", "withheld", "refused", "stopped"]


class TraceMetrics:
    """What became of the traces, and how the store does."""

    def __init__(self, registry: CollectorRegistry, computed: ComputedGauges) -> None:
        self._computed = computed
        self.stored_total = 0
        self.dropped_total = 0
        self._stored = Counter("spar_traces_stored", "Traces written to the store", registry=registry)
        self._dropped = Counter(
            "spar_traces_dropped", "Traces that were not stored, by reason", ["reason"], registry=registry
        )
        self._expired = Counter(
            "spar_traces_expired", "Traces deleted by the limits on age and size", ["limit"], registry=registry
        )
        self._queued = Gauge(
            "spar_traces_queued", "Traces waiting to be written", registry=registry, multiprocess_mode="livesum"
        )
        self._up = Gauge(
            "spar_trace_store_up", "0 while traces cannot be written", registry=registry, multiprocess_mode="livemin"
        )
        self._up.set(1)
        # A rate needs the series from before the first loss.
        for reason in get_args(Reason):
            self._dropped.labels(reason)
        self._seconds = Histogram(
            "spar_trace_write_seconds", "Time to write a batch of traces", buckets=_SECONDS, registry=registry
        )

    def watch(self, queued: Callable[[], int]) -> None:
        self._computed.add(self._queued, queued)

    def stored(self, count: int, seconds: float) -> None:
        self.stored_total += count
        self._stored.inc(count)
        self._seconds.observe(seconds)

    def dropped(self, reason: Reason, count: int = 1) -> None:
        if count:
            self.dropped_total += reason != "withheld" and count
            self._dropped.labels(reason).inc(count)

    def expired(self, *, age: int, size: int) -> None:
        self._expired.labels("age").inc(age)
        self._expired.labels("size").inc(size)

    def up(self, writes: bool) -> None:
        self._up.set(writes)
