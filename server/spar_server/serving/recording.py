"""What a request's search is announced to, so that it can be stored; `spar_server.traces` implements it.

recording = recorder.begin(plan, key)
outcome = await plan.run(allowance, on_event=recording.on_event)
recording.finish(outcome)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from spar_core.search.events import Event
from spar_server.serving.plan import Outcome, Plan
from spar_server.settings import ApiKey


class Recording(Protocol):
    """One request's search, as it may be recorded. No method waits or fails."""

    def on_event(self, event: Event) -> None: ...

    def finish(self, outcome: Outcome) -> None: ...


class Recorder(Protocol):
    """Decides which searches are recorded."""

    def begin(self, plan: Plan, key: ApiKey) -> Recording: ...


class _Unrecorded:
    def on_event(self, event: Event) -> None:
        """Not recorded."""

    def finish(self, outcome: Outcome) -> None:
        """Not recorded."""


UNRECORDED: Final = _Unrecorded()


class _Recordings:
    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = recordings

    def on_event(self, event: Event) -> None:
        for each in self._recordings:
            each.on_event(event)

    def finish(self, outcome: Outcome) -> None:
        for each in self._recordings:
            each.finish(outcome)


class _Recorders:
    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = recorders

    def begin(self, plan: Plan, key: ApiKey) -> Recording:
        return _Recordings([each.begin(plan, key) for each in self._recorders])


def join_recorders(*recorders: Recorder | None) -> Recorder | None:
    """A recorder for all that are not None; None if all are."""
    present = [each for each in recorders if each is not None]
    return _Recorders(present) if len(present) > 1 else next(iter(present), None)
