"""The items of the passes: prompts, drafts, and drafts with a critique."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_core.errors import DataError
from spar_core.types import Message
from spar_training.data.prompts import read_messages
from spar_training.prompt_evolution.file_formats import placed_rows
from spar_training.prompt_evolution.load import prompt_of


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that ends with the user's turn."""

    id: str
    conversation: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer to be judged."""

    id: str
    prompt: Prompt
    text: str


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """A draft with the critique of its judgement."""

    draft: Draft
    critique: str

    @property
    def id(self) -> str:
        return self.draft.id


def load_prompts(path: Path) -> list[Prompt]:
    """Load prompts from a file: whole conversations from `messages` that end with a user turn, else the prompt's text.

    Raises:
        DataError: the file cannot be read, a row has no prompt or an invalid message, or two rows have the same `id`;
            names file, row and field.
    """
    prompts: dict[str, Prompt] = {}
    for place, row in placed_rows(path):
        name = str(row.get("id", f"{path.stem}:{place}"))
        if name in prompts:
            raise DataError(f"{path}, row {place}: an earlier row has the id {name!r}; give each row its own")
        try:
            prompts[name] = Prompt(name, _conversation(row))
        except ValueError as error:
            raise DataError(f"{path}, row {place}: {error}") from error
    return list(prompts.values())


def _conversation(row: Mapping[str, Any]) -> tuple[Message, ...]:
    if row.get("messages") is not None:
        return read_messages(row["messages"])
    text = prompt_of(row)
    if not text or not text.strip():
        raise ValueError("has no prompt; it needs messages that end with a user turn, or a prompt")
    return (Message("user", text),)
