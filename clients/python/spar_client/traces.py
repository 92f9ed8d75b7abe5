"""Stored searches: `client.traces`, where the server records them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from spar_client.transport import run
from spar_client.tree import Body, SearchTree

if TYPE_CHECKING:
    from spar_client.api import Api


class TraceFilter(TypedDict, total=False):
    """Which traces to list; a time without a zone is in UTC."""

    key: str
    model: str
    since: datetime
    until: datetime
    stop_reason: str
    improved: bool
    accepted: bool
    budget: int
    limit: int
    """Traces of a page, at most 100."""
    cursor: str
    """`next_cursor` of the page before."""


class TraceSummary(Body):
    """A stored search without its texts. `created` is when it finished, in seconds since 1970."""

    id: str
    created: float
    key: str
    model: str
    budget: int
    nodes: int
    depth: int
    stop_reason: str
    accepted: bool
    improved: bool
    degraded: bool
    value: float | None
    draft_value: float | None
    duration_ms: float


class TracePage(Body):
    """Traces, newest first."""

    data: tuple[TraceSummary, ...]
    has_more: bool
    next_cursor: str | None


class Feedback(Body):
    """What a person said about an answer: a score from -1 to 1, and a comment."""

    key: str
    created: float
    score: float
    comment: str


class Trace(TraceSummary):
    """A stored search with its conversation, its trees (one for each of `n` answers) and its feedback."""

    messages: tuple[dict[str, Any], ...]
    trees: tuple[SearchTree, ...]
    feedback: tuple[Feedback, ...]


class Traces:
    """The traces that the key may read. An id is `completion.trace_id`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, **filters: Unpack[TraceFilter]) -> TracePage:
        """One page of traces, newest first."""
        return run(self._api.get("/traces", TracePage, params=_query(filters)))

    def get(self, trace_id: str) -> Trace:
        """One trace."""
        return run(self._api.get(f"/traces/{trace_id}", Trace))

    def give_feedback(self, trace_id: str, score: float, comment: str = "") -> Feedback:
        """Say how good an answer is, from -1 to 1; it replaces what the key said before."""
        return run(self._api.post(f"/traces/{trace_id}/feedback", Feedback, {"score": score, "comment": comment}))


class AsyncTraces:
    """`Traces` as coroutines."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list(self, **filters: Unpack[TraceFilter]) -> TracePage:
        """One page of traces, newest first."""
        return await self._api.get("/traces", TracePage, params=_query(filters))

    async def get(self, trace_id: str) -> Trace:
        """One trace."""
        return await self._api.get(f"/traces/{trace_id}", Trace)

    async def give_feedback(self, trace_id: str, score: float, comment: str = "") -> Feedback:
        """Say how good an answer is, from -1 to 1; it replaces what the key said before."""
        body = {"score": score, "comment": comment}
        return await self._api.post(f"/traces/{trace_id}/feedback", Feedback, body)


def _query(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
