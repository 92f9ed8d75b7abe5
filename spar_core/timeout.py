"""A timeout that costs a third of `asyncio.timeout`: every model call has several."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Timeout:
    """A context whose task gets a TimeoutError if it is open for more than `seconds`; None is no limit.

        with Timeout(5):
            await call()

    It can be entered again once it is left.
    """

    __slots__ = ("_cancelling", "_ended", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.Handle | None = None
        self._cancelling = 0
        self._ended = False

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            # A timer without delay would come a step of the loop later.
            self._timer = loop.call_later(self._seconds, self.end) if self._seconds > 0 else loop.call_soon(self.end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if self._ended and task is not None:
            self._ended = False
            # The task may have been cancelled by others as well, which must not be hidden.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def end(self) -> None:
        """The time is up."""
        if self._task is not None and not self._ended:
            self._ended = True
            self._task.cancel()
