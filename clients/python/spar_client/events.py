"""What a stream yields: the steps of the search, then the answer, then `DoneEvent`.

    with client.stream("Write about rivers without commas.", refine_budget=8) as stream:
        for event in stream:
            match event:
                case JudgementEvent(path=path, accepted=accepted, critique=critique): ...
                case AnswerEvent(text=text): ...
                case DoneEvent(completion=completion): ...

With budget 0 there is no search, and the answer arrives token by token. `choice` is the number of the answer, or of
the search with `n` > 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from spar_client.completion import Completion, RoleTokens
from spar_client.judgement import Verdict
from spar_client.tree import Body, Path


class _Step(Body):
    choice: int = 0


class DraftEvent(_Step):
    """The draft is complete."""

    type: Literal["draft"] = "draft"
    text: str
    usage: RoleTokens | None = None


class VoteEvent(_Step):
    """One vote on the text at `path`."""

    type: Literal["vote"] = "vote"
    path: Path
    verdict: Verdict | None
    critique: str
    error: str | None = None
    usage: RoleTokens | None = None


class CallEvent(_Step):
    """A model call for the text at `path` is over; times are in milliseconds since the search began.

    `count` is how many completions it asked for. With `refine={"prompts": True}`, `messages` is what was sent.
    """

    type: Literal["call"] = "call"
    path: Path
    role: Literal["actor", "refiner", "judge"]
    count: int
    started_ms: float
    ended_ms: float
    outcome: Literal["finished", "failed", "cancelled"]
    usage: RoleTokens | None = None
    messages: tuple[dict[str, Any], ...] | None = None


class JudgementEvent(_Step):
    """All votes on the text at `path` are in; a refiner sees the `critique`."""

    type: Literal["judgement"] = "judgement"
    path: Path
    text: str
    value: float | None
    accepted: bool
    abstained: bool
    yes: int
    no: int
    critique: str | None


class NodeEvent(_Step):
    """A node begins: a refinement by `critique`, or a fresh draft if that is None."""

    type: Literal["node"] = "node"
    path: Path
    critique: str | None


class RefinementEvent(_Step):
    """The refinement at `path` is complete, or failed."""

    type: Literal["refinement"] = "refinement"
    path: Path
    text: str | None
    failure: str | None
    usage: RoleTokens | None = None


class FinishEvent(_Step):
    """A search is over; `answer` is the path of the node that it returns."""

    type: Literal["finish"] = "finish"
    stop_reason: str
    answer: Path
    accepted: bool
    improved: bool
    nodes: int


class ReasoningEvent(_Step):
    """A piece of the actor's own reasoning, of models that reason."""

    type: Literal["reasoning"] = "reasoning"
    text: str


class AnswerEvent(_Step):
    """A piece of an answer: a token with budget 0, else the whole answer."""

    type: Literal["answer"] = "answer"
    text: str


class DoneEvent(Body):
    """The last event, with everything."""

    type: Literal["done"] = "done"
    completion: Completion


SearchEvent = DraftEvent | CallEvent | VoteEvent | JudgementEvent | NodeEvent | RefinementEvent | FinishEvent
StreamEvent = SearchEvent | ReasoningEvent | AnswerEvent | DoneEvent

_SEARCH_TYPES: Final = frozenset({"draft", "call", "vote", "judgement", "node", "refinement", "finish"})
_SEARCH_EVENT: Final[TypeAdapter[SearchEvent]] = TypeAdapter(Annotated[SearchEvent, Field(discriminator="type")])


def read_search_event(data: Mapping[str, Any]) -> SearchEvent | None:
    """The event in `data`; None for a type that this client does not know, of a later server."""
    return _SEARCH_EVENT.validate_python(data) if data.get("type") in _SEARCH_TYPES else None
