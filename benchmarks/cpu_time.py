"""CPU time of processes, and how much more of it one side takes than another.

Two sides take turns in many short rounds, because other load on the machine changes what the same work costs. Each
round gives a ratio; their median is what counts, and its interval says how well it is known.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, in all its threads."""
    # The number of its clock, as the C library's clock_getcpuclockid makes it.
    return time.clock_gettime(~pid << 3 | 2)


@dataclass(frozen=True)
class Added:
    """The share that is added: the median over the rounds, with an interval of 95%."""

    share: float
    low: float
    high: float

    @classmethod
    def between(cls, without: Sequence[float], having: Sequence[float]) -> Added:
        """What the second side adds, from both sides' rounds in order."""
        ratios = sorted(more / less - 1 for less, more in zip(without, having, strict=True))
        # The median's interval by the binomial distribution's normal approximation.
        reach = math.ceil(0.98 * math.sqrt(len(ratios)))
        middle = len(ratios) // 2
        low, high = ratios[max(0, middle - reach)], ratios[min(len(ratios) - 1, middle + reach)]
        return cls(statistics.median(ratios), low, high)

    def against(self, limit: float) -> str:
        met = "met" if self.share <= limit else "MISSED"
        return f"added {self.share:.1%} [{self.low:.1%}, {self.high:.1%}] (bar: at most {limit:.0%}: {met})"
