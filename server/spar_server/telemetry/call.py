"""A model call as it is observed, and how it is told to the process that sends it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from spar_core.errors import BackendTimeout
from spar_core.types import Completion, Message, ModelRole, Sampling, Usage
from spar_core.unicode import replace_surrogates
from spar_server.telemetry import names
from spar_server.telemetry.records import CallRecord

# Characters of a text that are sent, where texts are.
MAX_TEXT: Final = 32_768


@dataclass(slots=True)
class Call:
    """One model call, from its start to its end."""

    role: ModelRole
    span: str
    node: tuple[int, ...]
    choice: int
    sampling: Sampling
    start: int = field(default_factory=time.time_ns)
    operation: str = names.CHAT
    count: int = 1
    streams: bool = False
    messages: Sequence[Message] | None = None
    end: int = 0
    first_chunk: int = 0
    completions: Sequence[Completion] = ()
    finish_reasons: Sequence[str] = ()
    usage: Usage | None = None
    error: str | None = None
    cancelled: bool = False
    # What the search found about the node that this call wrote.
    found: dict[str, Any] = field(default_factory=dict)

    def chunk(self) -> None:
        if not self.first_chunk:
            self.first_chunk = time.time_ns()

    def succeed(self, completions: Sequence[Completion]) -> None:
        self.end = time.time_ns()
        self.completions = completions
        self.finish_reasons = [each.finish_reason for each in completions]
        self.usage = completions[0].usage if len(completions) == 1 else _sum(completions)

    def fail(self, error: BaseException) -> None:
        self.end = time.time_ns()
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.cancelled = True
        else:
            self.error = error_type(error)

    def record(self, end: int) -> CallRecord:
        """The call as it is sent; `end` is used for one that has not ended, because its task is gone."""
        usage = self.usage
        counted = usage is not None and (usage.prompt_counted or usage.completion_counted)
        return {
            "role": self.role,
            "operation": self.operation,
            "span": self.span,
            "start": self.start,
            "end": self.end or end,
            "attributes": self._attributes(),
            "usage": (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
            if usage is not None and counted
            else None,
            "first_chunk_s": (self.first_chunk - self.start) / 1e9 if self.first_chunk else None,
            "error": self.error,
        }

    def _attributes(self) -> dict[str, Any]:
        sampling, id = self.sampling, node_id(self.choice, self.node)
        attributes: dict[str, Any] = {
            names.REQUEST_TEMPERATURE: sampling.temperature,
            names.REQUEST_TOP_P: sampling.top_p,
            names.REQUEST_MAX_TOKENS: sampling.max_tokens,
            names.REQUEST_SEED: sampling.seed,
            names.RESPONSE_FINISH_REASONS: self.finish_reasons or None,
            names.SPAR_NODE: id,
            **self.found,
        }
        if sampling.stop:
            attributes[names.REQUEST_STOP] = sampling.stop
        if sampling.extra:
            attributes[names.REQUEST_FREQUENCY_PENALTY] = number(sampling.extra.get("frequency_penalty"))
            attributes[names.REQUEST_PRESENCE_PENALTY] = number(sampling.extra.get("presence_penalty"))
        if self.count > 1:
            attributes[names.REQUEST_CHOICES] = self.count
        if self.choice:
            attributes[names.SPAR_CHOICE] = self.choice
        if self.streams:
            attributes[names.REQUEST_STREAM] = True
        if self.cancelled:
            attributes[names.SPAR_CANCELLED] = True
        if self.messages is not None:
            attributes[names.INPUT_MESSAGES] = input_messages(self.messages)
            attributes[names.OUTPUT_MESSAGES] = output_messages(self.completions)
        return attributes


def node_id(choice: int, path: tuple[int, ...]) -> str:
    """The name of a node: `draft`, `0.2`, or `1/0.2` in the search for the second answer."""
    own = ".".join(map(str, path)) or "draft"
    return f"{choice}/{own}" if choice else own


def error_type(error: BaseException) -> str:
    """The class of an error: a status, `timeout`, or the name of its type."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return str(status)
    return "timeout" if isinstance(error, BackendTimeout | TimeoutError) else type(error).__name__


def input_messages(messages: Sequence[Message]) -> str:
    """Messages in the form of the conventions, as JSON; parts that are no text are only named."""
    return _json([_message(message.role, message.text) for message in messages])


def output_messages(completions: Sequence[Completion]) -> str:
    return _json([_message("assistant", each.text, finish_reason=each.finish_reason) for each in completions])


def _json(value: Any) -> str:
    return replace_surrogates(json.dumps(value, ensure_ascii=False))


def _message(role: str, text: str, **other: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text[:MAX_TEXT]}], **other}


def number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sum(completions: Sequence[Completion]) -> Usage:
    return sum((each.usage for each in completions), Usage())
