"""Gauges that are computed when they are read."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Gauge


class ComputedGauges:
    """Each gauge with its function. The values of several workers are in files, so they have to be set."""

    def __init__(self) -> None:
        self._functions: list[tuple[Gauge, Callable[[], float]]] = []

    def add(self, gauge: Gauge, function: Callable[[], float]) -> None:
        self._functions.append((gauge, function))

    def refresh(self) -> None:
        """Compute all of them."""
        for gauge, function in self._functions:
            gauge.set(function())
