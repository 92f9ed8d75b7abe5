"""The events of a search, one frozen value for each step.

Streaming, metrics and traces listen to these. `path` locates the node in the tree: () is the draft, (0, 2) the third
child of the first child.
"""

from __future__ import annotations

from collections.abc import Callable

from spar_core.budget import Call
from spar_core.frozen import frozen
from spar_core.judge import Judgement, Vote
from spar_core.refiner import Refinement
from spar_core.search.result import SearchResult
from spar_core.search.tree import Path
from spar_core.types import Completion


@frozen
class Drafted:
    """The draft is available."""

    draft: Completion


@frozen
class Expanding:
    """A node is about to be expanded; `critique` is what its refiner sees, None for a fresh draft."""

    path: Path
    critique: str | None


@frozen
class Refined:
    """A refinement call returned, successfully or not."""

    path: Path
    refinement: Refinement


@frozen
class Voted:
    """One vote on the response at `path`."""

    path: Path
    vote: Vote


@frozen
class Called:
    """A model call for the node at `path` is over: it finished, failed or was cancelled."""

    path: Path
    call: Call


@frozen
class Judged:
    """All votes on the response at `path` are in."""

    path: Path
    response: str
    judgement: Judgement


@frozen
class Finished:
    """The search is over; always the last event."""

    result: SearchResult


@frozen
class OfChoice:
    """An event of the `choice`-th of several searches that run side by side."""

    choice: int
    event: Event


Event = Drafted | Expanding | Refined | Voted | Called | Judged | Finished | OfChoice
Emit = Callable[[Event], None]
