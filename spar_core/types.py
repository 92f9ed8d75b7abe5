"""Frozen values that every part of the project uses: messages, sampling, completions, usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final, Literal

from spar_core.frozen import frozen

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]
ModelRole = Literal["actor", "judge", "refiner"]
Content = str | Sequence[Mapping[str, Any]] | None


@frozen
class Message:
    """One chat message in OpenAI's terms.

    `content` is a string, OpenAI content parts, or None. `extra` holds every other key of the message (`name`,
    `tool_calls`, `tool_call_id`, ...), so that it reaches an upstream unchanged.
    """

    role: str
    content: Content
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text parts joined; any other part appears as `[image_url]` or the like."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(
            str(part.get("text", "")) if part.get("type") == "text" else f"[{part.get('type', 'part')}]"
            for part in self.content
        )

    def to_openai(self) -> dict[str, Any]:
        content = self.content if self.content is None or isinstance(self.content, str) else list(self.content)
        return {"role": self.role, "content": content, **self.extra}


@frozen
class Sampling:
    """How to sample one completion; None is the engine's default.

    `extra` is sent to an HTTP upstream verbatim.
    """

    temperature: float | None = 1.0
    top_p: float | None = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    # Every call of a search has its own seed, and `dataclasses.replace` takes several times as long.
    def seeded(self, seed: int) -> Sampling:
        """A copy with this seed."""
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.stop, seed, self.extra)

    def within(self, max_tokens: int | None) -> Sampling:
        """A copy with this limit of tokens."""
        if max_tokens == self.max_tokens:
            return self
        return Sampling(self.temperature, self.top_p, max_tokens, self.stop, self.seed, self.extra)


@frozen
class Usage:
    """Tokens as the backend counted them.

    `cached_tokens` are part of the prompt's, `reasoning_tokens` of the completion's. `prompt_counted` and
    `completion_counted` are False if a backend did not count; the numbers are then only the known part.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    prompt_counted: bool = True
    completion_counted: bool = True

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.prompt_counted and other.prompt_counted,
            self.completion_counted and other.completion_counted,
        )

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


# The usage of an upstream that sends none.
UNCOUNTED: Final = Usage(prompt_counted=False, completion_counted=False)


@frozen
class Cancelled:
    """Cancelled calls.

    They generated an unknown number of tokens beyond the usage: at most `tokens_at_most`, or None if unbounded.
    """

    calls: int = 0
    tokens_at_most: int | None = 0

    def __add__(self, other: Cancelled) -> Cancelled:
        bounds = (self.tokens_at_most, other.tokens_at_most)
        known = [bound for bound in bounds if bound is not None]
        return Cancelled(self.calls + other.calls, sum(known) if len(known) == len(bounds) else None)


@frozen
class Completion:
    """One finished completion. `extra` holds an upstream's other fields (`tool_calls`, `refusal`, `logprobs`)."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls_tools(self) -> bool:
        """Whether it calls tools, so that the client has to continue. A forced call's finish reason is `stop`."""
        return any(self.extra.get(name) for name in ("tool_calls", "function_call"))


@frozen
class Delta:
    """One piece of a streamed completion. The last has `finish_reason` and `usage`, each set once per stream."""

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
