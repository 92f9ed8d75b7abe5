"""Frozen values that every part of the project passes around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]
ModelRole = Literal["actor", "judge", "refiner"]
Content = str | Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, in OpenAI's terms.

    `content` is a string, OpenAI content parts, or None; `extra` holds every other key of the
    message (`name`, `tool_calls`, `tool_call_id`, ...) so that it reaches an upstream unchanged.
    """

    role: str
    content: Content
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text parts joined; a part that is no text appears as `[image_url]` and the like."""
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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one completion; None is the engine's own default.

    `extra` is forwarded to an HTTP upstream verbatim.
    """

    temperature: float | None = 1.0
    top_p: float | None = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    # Every call of a search has a seed of its own; `dataclasses.replace` takes several times as long.
    def seeded(self, seed: int) -> Sampling:
        """The same with this seed."""
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.stop, seed, self.extra)

    def within(self, max_tokens: int | None) -> Sampling:
        """The same for at most so many tokens."""
        if max_tokens == self.max_tokens:
            return self
        return Sampling(self.temperature, self.top_p, max_tokens, self.stop, self.seed, self.extra)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the backend counted them: of the prompt's those from a cache, of the completion's those of thoughts.

    Where a backend does not count, `prompt_counted` and `completion_counted` are False: the numbers beside them are
    then only the part that is known.
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


# What an upstream that sends no usage says of its tokens.
UNCOUNTED: Final = Usage(prompt_counted=False, completion_counted=False)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Calls that were cut short.

    What they generated beyond what is in the usage is unknown: at most `tokens_at_most`, None if nothing bounds it.
    """

    calls: int = 0
    tokens_at_most: int | None = 0

    def __add__(self, other: Cancelled) -> Cancelled:
        bounds = (self.tokens_at_most, other.tokens_at_most)
        known = [bound for bound in bounds if bound is not None]
        return Cancelled(self.calls + other.calls, sum(known) if len(known) == len(bounds) else None)


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished completion. `extra` holds what an upstream sent besides (`tool_calls`, `refusal`, `logprobs`)."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls_tools(self) -> bool:
        """Whether it is for the client to go on. A forced call ends in `stop`, so the reason alone does not tell."""
        return any(self.extra.get(name) for name in ("tool_calls", "function_call"))


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed completion. The last has `finish_reason` and `usage`, each set once a stream."""

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
