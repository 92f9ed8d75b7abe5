"""The request to evolve a seed prompt by a choice of constraints, and the parsing of the reply."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from spar_core.backends.base import Backend
from spar_core.errors import BackendRejected
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling
from spar_training.prompt_evolution.filters.quality import Removal, instruction_in
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.prompt_evolution.taxonomy import Choice, Group, choose
from spar_training.storage.files import Row

_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
# OpenAI's code for a request that exceeds the model's context.
_TOO_LONG: Final = "context_length_exceeded"
# In tokens; shorter ones hold no prompt in their tags.
_SHORTEST_REPLY: Final = 128


def load_template() -> str:
    """Load the template that the package ships."""
    return (files("spar_training.prompt_evolution") / "template.txt").read_text(encoding="utf-8").removesuffix("\n")


def render(template: str, instruction: str, choice: Choice) -> str:
    """Fill the template in one pass, so that braces in the instruction survive."""
    values = {
        "instruction": instruction,
        "main": _describe(choice.main),
        "examples": "\n".join(f"- {example}" for example in choice.main.examples),
        "others": "\n".join(f"- {_describe(group)}" for group in choice.others),
    }
    return _SLOT.sub(lambda slot: values[slot[1]], template)


def _describe(group: Group) -> str:
    return f"{group.name}: {group.description}"


@dataclass(frozen=True, slots=True)
class Evolution:
    """An evolution to request. `id` is the seed prompt's with the number of the attempt; `seed` is the call's."""

    id: str
    prompt: SeedPrompt
    choice: Choice
    seed: int


@dataclass(frozen=True, slots=True)
class Evolved:
    """An evolution with its `text`: the model's reply, or the instruction once it is parsed."""

    evolution: Evolution
    text: str

    @property
    def id(self) -> str:
        return self.evolution.id


def evolutions(prompts: Sequence[SeedPrompt], groups: Sequence[Group], *, per_seed: int, seed: int) -> list[Evolution]:
    """List the evolutions of the prompts. A prompt's choices and seeds do not depend on other prompts."""
    return [
        Evolution(
            name := f"{prompt.id}/{number}",
            prompt,
            choose(groups, derive_seed(seed, name, "constraints")),
            derive_seed(seed, name, "call"),
        )
        for prompt in prompts
        for number in range(per_seed)
    ]


def evolve_work(
    backend: Backend, template: str, sampling: Sampling
) -> Callable[[Evolution], Awaitable[dict[str, Any]]]:
    """Build the work of `run_items` that requests an evolution and stores the raw reply."""

    async def evolve(evolution: Evolution) -> dict[str, Any]:
        text = render(template, evolution.prompt.text, evolution.choice)
        completion = await _within_context(backend, text, replace(sampling, seed=evolution.seed))
        return {
            "reply": completion.text,
            "finish_reason": completion.finish_reason,
            "completion_tokens": completion.usage.completion_tokens,
        }

    return evolve


async def _within_context(backend: Backend, text: str, sampling: Sampling) -> Completion:
    """Complete with at most `max_tokens`; halve them, down to `_SHORTEST_REPLY`, while the model's context is exceeded.

    Servers count the reply's limit against the context, even if the reply would be short.
    """
    while True:
        try:
            return await backend.complete([Message("user", text)], sampling)
        except BackendRejected as error:
            if error.code != _TOO_LONG:
                raise
            if sampling.max_tokens is None or sampling.max_tokens < 2 * _SHORTEST_REPLY:
                raise BackendRejected(
                    f"the template, the seed prompt and a reply of {_SHORTEST_REPLY} tokens do not fit into the "
                    "model's context; lower --max-words, or use a model with a longer context",
                    status=error.status,
                    code=error.code,
                    detail=error.detail,
                ) from error
            sampling = replace(sampling, max_tokens=sampling.max_tokens // 2)


def parse_row(row: Row) -> str | Removal:
    """Return the instruction in a row of `evolve_work`, or the reason why there is none."""
    if "failed" in row:
        return Removal("call failed", row["failed"])
    return instruction_in(row["reply"], row["finish_reason"])
