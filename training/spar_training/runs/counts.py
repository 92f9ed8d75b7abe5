"""The counts and figures of a run's step, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# The key of the intervals beside the figures.
INTERVALS: Final = "intervals"
_BESIDE: Final = frozenset({"seconds", INTERVALS})


def counts_line(counts: Mapping[str, Any]) -> str:
    """All counts and figures of a step in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {figure(counts, name)}" for name in names_of(counts))


def names_of(counts: Mapping[str, Any]) -> list[str]:
    """The names of a step's counts and figures."""
    return [name for name in counts if name not in _BESIDE]


def figure(counts: Mapping[str, Any], name: str) -> str:
    """A count or a share of a step, with its 95% interval and number of items if the step has them.

    A dash if it is unknown or there was nothing to measure.
    """
    value = counts.get(name)
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}"
    interval = counts.get(INTERVALS, {}).get(name)
    return f"{value:.3f}" + (" [{low:.3f}, {high:.3f}], n {n:,}".format(**interval) if interval else "")
