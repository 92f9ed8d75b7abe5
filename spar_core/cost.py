"""What model calls cost, in whatever unit the prices have, and a bound on it.

price = Price(prompt=0.5, completion=1.5)
price.of(Usage(prompt_tokens=1000, completion_tokens=200))    # 0.0008
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spar_core.types import Message, ModelRole, Sampling, Usage

_PER: Final = 1e6
# More tokens than any call generates.
_ENDLESS: Final = 1e12
# More tokens than chat templates add to a chat, and to each of its messages.
_TEMPLATE_TOKENS: Final = 256
_MESSAGE_TOKENS: Final = 32


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a million tokens of one model. Cached tokens of a prompt have the prompt's price by default."""

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: Usage) -> float | None:
        """The price of a usage; None if not all of its tokens were counted."""
        if not (usage.prompt_counted and usage.completion_counted):
            return None
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion) / _PER

    def at_most(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The most that a call with these numbers of tokens costs."""
        dearest = max(self.prompt, self.cached or 0.0)
        return (prompt_tokens * dearest + completion_tokens * self.completion) / _PER


@dataclass(frozen=True, slots=True)
class CostBound:
    """The most that one search may cost, and the prices of its roles."""

    limit: float
    prices: Mapping[ModelRole, Price]

    def prompt(self, role: ModelRole, messages: Sequence[Message], sampling: Sampling) -> float:
        """The most that a prompt costs, before its tokens are known."""
        return self.prices[role].at_most(most_prompt_tokens(messages, sampling), 0)

    def completion_tokens(self, role: ModelRole, amount: float) -> int | None:
        """How many generated tokens `amount` pays for; None for any number of them."""
        price = self.prices[role].completion
        # Rounding must not refuse a share that is meant to suffice.
        tokens = max(0.0, amount) * _PER * (1 + 1e-9)
        return None if tokens >= price * _ENDLESS else int(tokens / price)


def most_prompt_tokens(messages: Sequence[Message], sampling: Sampling) -> int:
    """An upper bound on a prompt's tokens: no tokenizer makes more tokens of a text than it has bytes.

    Images and other media have no such bound.
    """
    texts = sum(_length(message) for message in messages)
    extra = len(json.dumps(sampling.extra, default=str).encode()) if sampling.extra else 0
    return texts + extra + _TEMPLATE_TOKENS + _MESSAGE_TOKENS * len(messages)


def _length(message: Message) -> int:
    content = message.content
    if isinstance(content, str) and not message.extra:
        return len(content.encode(errors="replace"))
    return len(json.dumps(message.to_openai(), default=str, ensure_ascii=False).encode(errors="replace"))
