"""What the server tells the process that sends telemetry: one line of JSON for each request.

The first line is a `Greeting`; each later one is a `RequestRecord`. Times are in nanoseconds since 1970; 0 is never.
The server writes records as plain tuples, in the order of the fields here: no names are sent, and what all calls of a
role share is in the greeting, so that a request costs the server little. All else is the other process' work.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypedDict

from pydantic_core import from_json

from spar_core.types import ModelRole
from spar_server.settings import Conventions, Scores, Signal
from spar_server.traces.document import encode

# The values of a record in order. To encode a named tuple takes twice as long.
Row = tuple[Any, ...]


class ModelInfo(TypedDict):
    """A role's model; `local` if it runs in the server's process."""

    local: bool
    attributes: dict[str, Any]


class Greeting(TypedDict):
    """What does not change while the server runs; `name` is the model's name for clients.

    `flush_s` is how long sending may take once the server stops.
    """

    name: str
    version: str
    conventions: Conventions
    signals: list[Signal]
    scores: Scores
    flush_s: float
    log_level: str
    log_format: Literal["console", "json"]
    models: dict[ModelRole, ModelInfo]


class CallRecord(NamedTuple):
    """One model call for `choices` answers, for the node `path` in the search for the answer `choice`.

    `usage` has the tokens of the prompt, the completion, the prompt from a cache, and reasoning; None if they were not
    counted. What the search found: `outcome`, `value` and `accepted` of the node that the call wrote, or the `votes`
    that were read from it.
    """

    role: ModelRole
    operation: str
    span: str
    path: list[int]
    choice: int
    choices: int
    streams: bool
    start: int
    end: int
    first_chunk: int
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: list[str]
    frequency_penalty: float | None
    presence_penalty: float | None
    finish_reasons: list[str]
    usage: tuple[int, int, int, int] | None
    error: str | None
    cancelled: bool
    outcome: str | None
    value: float | None
    accepted: bool | None
    votes: list[str] | None
    input: str | None
    output: str | None

    @property
    def node(self) -> str:
        """The name of the node: `draft`, `0.2`, or `1/0.2` in the search for the second answer."""
        own = ".".join(map(str, self.path)) or "draft"
        return f"{self.choice}/{own}" if self.choice else own

    @property
    def first_chunk_s(self) -> float | None:
        return (self.first_chunk - self.start) / 1e9 if self.first_chunk else None


class ScoreRecord(NamedTuple):
    """One verdict on the answer of the call `span`; without a `value` if the judge abstained."""

    span: str
    time: int
    name: str
    value: float | None
    label: str
    explanation: str | None


class RequestRecord(NamedTuple):
    """One request; `found` are the attributes of its search.

    Its calls are children of a span of its own, `span`, or its only call is all there is.
    """

    operation: str
    trace: str
    parent: str | None
    sampled: bool
    span: str | None
    start: int
    end: int
    first_token: int
    key: str
    request_id: str | None
    error: str | None
    found: dict[str, Any]
    calls: list[CallRecord]
    scores: list[ScoreRecord]


class Line(Protocol):
    """What a line is made of when it is written, many at a time: that costs a third of making each on its own."""

    def line(self) -> bytes: ...


def line_of(record: Row | Greeting) -> bytes:
    """The record as a line of JSON."""
    return encode(record) + b"\n"


def read_record(line: bytes) -> RequestRecord:
    """The request that a line tells of."""
    *fields, calls, scores = from_json(line)
    return RequestRecord._make([*fields, list(map(CallRecord._make, calls)), list(map(ScoreRecord._make, scores))])
