"""One seed prompt to be grown by one choice of constraints: what is asked, and what becomes of the reply."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from spar_core.backends.base import Backend
from spar_core.seeds import derive_seed
from spar_core.types import Message, Sampling
from spar_training.prompt_evolution.filters.quality import Removal, instruction_in
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.prompt_evolution.taxonomy import Choice, Group, choose
from spar_training.storage.files import Row

_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")


def load_template() -> str:
    """The template that the package ships."""
    return (files("spar_training.prompt_evolution") / "template.txt").read_text(encoding="utf-8").removesuffix("\n")


def render(template: str, instruction: str, choice: Choice) -> str:
    """The template filled in one pass, so that braces in the instruction survive."""
    values = {
        "instruction": instruction,
        "main": _named(choice.main),
        "examples": "\n".join(f"- {example}" for example in choice.main.examples),
        "others": "\n".join(f"- {_named(group)}" for group in choice.others),
    }
    return _SLOT.sub(lambda slot: values[slot[1]], template)


def _named(group: Group) -> str:
    return f"{group.name}: {group.description}"


@dataclass(frozen=True, slots=True)
class Evolution:
    """`id` is the seed prompt's with the number of the try; `seed` that of its call."""

    id: str
    prompt: SeedPrompt
    choice: Choice
    seed: int


@dataclass(frozen=True, slots=True)
class Evolved:
    """What the model made of an evolution: `text` is its reply until the instruction is read from it."""

    evolution: Evolution
    text: str

    @property
    def id(self) -> str:
        return self.evolution.id


def evolutions(prompts: Sequence[SeedPrompt], groups: Sequence[Group], *, per_seed: int, seed: int) -> list[Evolution]:
    """The evolutions of the prompts. A prompt's choices and seeds do not depend on the other prompts."""
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


def asking(backend: Backend, template: str, sampling: Sampling) -> Callable[[Evolution], Awaitable[dict[str, Any]]]:
    """The work of `run_items`: asks for one evolution, and keeps the reply as it is."""

    async def ask(evolution: Evolution) -> dict[str, Any]:
        said = render(template, evolution.prompt.text, evolution.choice)
        completion = await backend.complete([Message("user", said)], replace(sampling, seed=evolution.seed))
        return {
            "reply": completion.text,
            "finish_reason": completion.finish_reason,
            "completion_tokens": completion.usage.completion_tokens,
        }

    return ask


def read(row: Row) -> str | Removal:
    """The instruction in a row that `asking` made, or why it has none."""
    if "failed" in row:
        return Removal("call failed", row["failed"])
    return instruction_in(row["reply"], row["finish_reason"])
