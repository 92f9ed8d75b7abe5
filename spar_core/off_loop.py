"""What would hold up the event loop, done by whom the request has for it (`CallContext.off_loop`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from spar_core.backends.context import call_context

T = TypeVar("T")
# What is done at once: a request of so many bytes, and so much work, five milliseconds in the unit of `Check.work`.
SHORT: Final = 64 * 1024
_LITTLE: Final = 1_000_000


async def unless_short(work: Callable[[], T], length: int = 0) -> T:
    """What `work` returns, which goes through all of the request's text, and `length` characters of what models wrote;
    done elsewhere if either is long."""
    context = call_context()
    size = max(context.length, length)
    if size <= SHORT:
        return work()
    made: T = await context.off_loop(work, size)
    return made


async def unless_little(work: Callable[[], T], size: int) -> T:
    """What `work` returns; done elsewhere if there is much to do."""
    if size <= _LITTLE:
        return work()
    made: T = await call_context().off_loop(work, size)
    return made
