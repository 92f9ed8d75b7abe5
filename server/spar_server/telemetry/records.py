"""What the server tells the process that sends telemetry: one line of JSON for each request.

The first line is a `Greeting`; each later one is a `RequestRecord`. Times are in nanoseconds since 1970. Attributes
that all calls of a role share are in the greeting, to keep the lines short.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from spar_core.types import ModelRole
from spar_server.settings import Conventions, Scores, Signal
from spar_server.traces.document import encode


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


class CallRecord(TypedDict):
    """One model call.

    `usage` has the tokens of the prompt, the completion, the prompt from a cache, and reasoning; None if they were not
    counted.
    """

    role: ModelRole
    operation: str
    span: str
    start: int
    end: int
    attributes: dict[str, Any]
    usage: tuple[int, int, int, int] | None
    first_chunk_s: float | None
    error: str | None


class ScoreRecord(TypedDict):
    """One verdict on the answer of the call `span`; without a `value` if the judge abstained."""

    span: str
    time: int
    name: str
    value: float | None
    label: str
    explanation: str | None


class RequestRecord(TypedDict):
    """One request. Its calls are children of a span of its own, `span`, or its only call is all there is."""

    operation: str
    trace: str
    parent: str | None
    sampled: bool
    span: str | None
    start: int
    end: int
    attributes: dict[str, Any]
    first_token_s: float | None
    error: str | None
    calls: list[CallRecord]
    scores: list[ScoreRecord]


def line_of(record: RequestRecord | Greeting) -> bytes:
    """The record as a line of JSON."""
    return encode(record) + b"\n"
