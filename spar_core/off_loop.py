"""Run work that would block the event loop by the request's own executor (`CallContext.off_loop`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from spar_core.backends.context import call_context

T = TypeVar("T")
# What runs on the loop: a request up to this many bytes, and work up to 5 ms in the unit of `Check.work`.
SHORT: Final = 64 * 1024
_LITTLE: Final = 1_000_000


async def unless_short(work: Callable[[], T], length: int = 0) -> T:
    """Run `work`, which reads all of the request's text and `length` characters of model output.

    It runs off the event loop if either is long.
    """
    context = call_context()
    size = max(context.length, length)
    if size <= SHORT:
        return work()
    result: T = await context.off_loop(work, size)
    return result


async def unless_little(work: Callable[[], T], size: int) -> T:
    """Run `work`; off the event loop if its `size`, in the unit of `Check.work`, is large."""
    if size <= _LITTLE:
        return work()
    result: T = await call_context().off_loop(work, size)
    return result
