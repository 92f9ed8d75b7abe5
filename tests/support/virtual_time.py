"""An event loop whose clock skips every wait, so that a test can assert how long concurrent work takes.

    result, seconds = run_in_virtual_time(search(judge=judging(verdict, latency_s=1.0)))
    assert seconds == 7.0

The speed of the machine does not matter: only `asyncio.sleep` and other timers take time, and they take exactly theirs.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run a coroutine that waits only for timers; returns its result and the seconds it took by the loop's clock."""
    with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
        began = runner.get_loop().time()
        result = runner.run(work)
        return result, runner.get_loop().time() - began


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_SkippingSelector(self))

    def time(self) -> float:
        return self.now


class _SkippingSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer, move the loop's clock to it."""

    def __init__(self, loop: _VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None:
            self._loop.now += max(0.0, timeout)
        return super().select(0 if timeout is not None else None)
