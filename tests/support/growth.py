"""Measure how a function's CPU time grows with the length of its text, independently of other load on the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Lengths of the texts, each four times the previous one.
SHORT: Final = (2_500, 10_000)
READ: Final = (4_000, 16_000, 64_000)
LONG: Final = (4_000, 16_000, 64_000, 256_000, 1_024_000)
# Linear work takes four times as long for four times the text, quadratic work sixteen times.
_BOUND: Final = 8.0
# CPU seconds below which the clock is too coarse.
_COUNTS: Final = 0.03
_ATTEMPTS: Final = 4


def super_linear(work: Callable[[str], object], text_of: Callable[[int], str], lengths: tuple[int, ...]) -> str | None:
    """Describe where the work grows faster than the text; None if it does not.

    CPU time of this thread, the least of several attempts: other processes cannot make it fail.
    """
    before = _seconds(work, text_of(lengths[0]), 1)
    for length in lengths[1:]:
        text = text_of(length)
        now = _seconds(work, text, 1)
        if now > _COUNTS and now > _BOUND * before:
            before = _seconds(work, text_of(length // 4), _ATTEMPTS)
            now = _seconds(work, text, _ATTEMPTS - 1)
            if now > _COUNTS and now > _BOUND * before:
                return f"{now / before:.1f} times the work for 4 times the text, at {length} characters"
        before = now
    return None


def _seconds(work: Callable[[str], object], text: str, attempts: int) -> float:
    least = float("inf")
    for _ in range(attempts):
        began = time.thread_time()
        work(text)
        least = min(least, time.thread_time() - began)
    return max(least, 1e-6)
