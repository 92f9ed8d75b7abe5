"""The metrics of several workers as one: each writes its own to files, and whichever is scraped adds them up.

    with shared_metrics() as folder:    # before the workers are forked
        write_to_files(worker)          # in each of them, before it makes its metrics
        forget_gauges(folder, worker)   # when one has died

A worker that replaces another goes on with its counters.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, values
from prometheus_client.multiprocess import MultiProcessCollector

# Read by prometheus_client.
_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


class WorkerMetrics:
    """Which worker processes there are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = Gauge("spar_workers", "Processes that serve", registry=registry, multiprocess_mode="livesum")
        self._replaced = Counter(
            "spar_workers_replaced", "Worker processes that died and were replaced", registry=registry
        )

    def started(self, *, replaces: bool) -> None:
        """Count this process; `replaces` if it takes the place of one that died."""
        self._workers.set(1)
        self._replaced.inc(int(replaces))


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """A folder for the metrics of workers that are forked while it exists."""
    with tempfile.TemporaryDirectory(prefix="spar-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[_FOLDER] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[_FOLDER]


def write_to_files(worker: int) -> None:
    """Keep the metrics of this process in files of the folder; `worker` is a number that no other process has."""
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def forget_gauges(folder: Path, worker: int) -> None:
    """Remove the gauges of a worker that has died, while its counters stay."""
    for file in folder.glob(f"gauge_*_{worker}.db"):
        file.unlink()


def merged() -> CollectorRegistry | None:
    """The metrics of all workers; None if this process is the only one."""
    if (folder := os.environ.get(_FOLDER)) is None:
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return registry
