"""A cutoff ends running searches early, each with its best answer so far. Many searches can share one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from spar_core.timeout import Timeout


class Cutoff:
    """Not reached until `now` is called."""

    def __init__(self) -> None:
        self.reached = False
        self._open: set[Timeout] = set()

    def now(self) -> None:
        """End everything that runs under the cutoff; anything that starts later ends at its first wait."""
        self.reached = True
        for timeout in self._open:
            timeout.end()

    def timeout(self, seconds: float | None) -> Timeout:
        """Like `Timeout`, but ends at the cutoff at the latest."""
        return _Scope(self._open, 0 if self.reached else seconds)

    @contextmanager
    def waits(self) -> Iterator[Timeout]:
        """A `Timeout` without a limit that can be entered again and again, for the many waits of a stream."""
        wait = _Wait(self)
        self._open.add(wait)
        try:
            yield wait
        finally:
            self._open.discard(wait)


class _Wait(Timeout):
    """Is among the cutoff's even while no task is in it."""

    __slots__ = ("_cutoff",)

    def __init__(self, cutoff: Cutoff) -> None:
        super().__init__(None)
        self._cutoff = cutoff

    def __enter__(self) -> None:
        if self._cutoff.reached:
            raise TimeoutError
        super().__enter__()


class _Scope(Timeout):
    """Is in `scopes` while a task is in it."""

    __slots__ = ("_scopes",)

    def __init__(self, scopes: set[Timeout], seconds: float | None) -> None:
        super().__init__(seconds)
        self._scopes = scopes

    def __enter__(self) -> None:
        super().__enter__()
        self._scopes.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scopes.discard(self)
        super().__exit__(kind, error, trace)
