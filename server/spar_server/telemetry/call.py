"""A model call as it is observed, and how it is told to the process that sends it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Final

from spar_core.errors import BackendTimeout
from spar_core.types import Completion, Message, ModelRole, Sampling, Usage
from spar_core.unicode import replace_surrogates
from spar_server.telemetry import names
from spar_server.telemetry.records import Row

# Characters of a text that are sent, where texts are.
MAX_TEXT: Final = 32_768


class Call:
    """One model call, from its start to its end."""

    # Here, because most calls have most of them: a dataclass would set each one for every call.
    operation = names.CHAT
    choices = 1
    streams = False
    messages: Sequence[Message] | None = None
    end = 0
    first_chunk = 0
    completions: Sequence[Completion] = ()
    finish_reasons: Sequence[str] = ()
    usage: Usage | None = None
    error: str | None = None
    cancelled = False
    # What the search found about the node that this call wrote: its outcome, value, and whether it was accepted.
    found: tuple[str | None, float | None, bool | None] = (None, None, None)
    # The verdicts that were read from it.
    votes: Sequence[str] | None = None

    def __init__(self, role: ModelRole, span: str, node: tuple[int, ...], choice: int, sampling: Sampling) -> None:
        self.role: ModelRole = role
        self.span = span
        self.node = node
        self.choice = choice
        self.sampling = sampling
        self.start = time.time_ns()

    def succeed(self, completions: Sequence[Completion]) -> None:
        self.end = time.time_ns()
        self.completions = completions
        if len(completions) == 1:
            (only,) = completions
            self.finish_reasons, self.usage = (only.finish_reason,), only.usage
        else:
            self.finish_reasons, self.usage = [each.finish_reason for each in completions], _sum(completions)

    def fail(self, error: BaseException) -> None:
        self.end = time.time_ns()
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.cancelled = True
        else:
            self.error = error_type(error)

    def row(self, end: int) -> Row:
        """The values of its `CallRecord`; `end` is for one that has not ended, because its task is gone."""
        sampling, usage, messages = self.sampling, self.usage, self.messages
        extra = sampling.extra
        counted = usage is not None and (usage.prompt_counted or usage.completion_counted)
        return (
            self.role,
            self.operation,
            self.span,
            self.node,
            self.choice,
            self.choices,
            self.streams,
            self.start,
            self.end or end,
            self.first_chunk,
            sampling.temperature,
            sampling.top_p,
            sampling.max_tokens,
            sampling.seed,
            sampling.stop,
            number(extra.get("frequency_penalty")) if extra else None,
            number(extra.get("presence_penalty")) if extra else None,
            self.finish_reasons,
            (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
            if usage is not None and counted
            else None,
            self.error,
            self.cancelled,
            *self.found,
            self.votes,
            None if messages is None else input_messages(messages),
            None if messages is None else output_messages(self.completions),
        )


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
