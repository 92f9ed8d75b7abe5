"""Prometheus metrics of reloads: whether what is in the files is what the server does."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReloadMetrics:
    """Counts reloads, and tells whether the latest one was refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "spar_reloads", "Reloads of settings and keys by outcome: ok, refused", ["outcome"], registry=registry
        )
        for outcome in ("ok", "refused"):
            self._reloads.labels(outcome)
        self._refused = Gauge(
            "spar_reload_refused",
            "1 while the settings or keys on disk are refused and earlier ones hold",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._succeeded_at = Gauge(
            "spar_reload_last_success_timestamp_seconds",
            "When settings and keys were last read successfully, at the start or by a reload",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._succeeded_at.set(time.time())

    def succeeded(self) -> None:
        self._reloads.labels("ok").inc()
        self._refused.set(0)
        self._succeeded_at.set(time.time())

    def refused(self) -> None:
        self._reloads.labels("refused").inc()
        self._refused.set(1)
