"""The prompt that asks a model to grow an instruction."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from spar_training.evolve.taxonomy import Choice, Group

_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")


def load_template() -> str:
    """The template that the package ships."""
    return (files("spar_training.evolve") / "template.txt").read_text(encoding="utf-8").removesuffix("\n")


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
