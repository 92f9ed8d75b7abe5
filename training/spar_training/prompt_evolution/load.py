"""Read prompts from files, in the formats of common prompt collections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.prompt_evolution.file_formats import placed_rows
from spar_training.storage.files import Row

_USERS: Final = ("user", "human")
_ASKING: Final = (*_USERS, "system", "developer")


@dataclass(frozen=True, slots=True)
class SeedPrompt:
    """`id` is the file's stem and the row's number from 1, e.g. `vicuna_question:4`; `source` is the file's name."""

    id: str
    text: str
    source: str


def read_prompts(paths: Sequence[Path]) -> list[SeedPrompt]:
    """Read the prompts of several files, in order.

    Raises:
        ConfigError: two files have the same stem, so their prompts would share ids.
        DataError: a file is missing, damaged or empty, or a row has no prompt; names the file, the row and the keys
            that are read.
    """
    stems = [path.stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ConfigError(f"several files are called {twice[0]}; rename one, since prompts are named after their file")
    return [prompts[0] for path in paths for prompts in _prompts(path, _USERS)]


def read_turns(path: Path) -> list[list[SeedPrompt]]:
    """Read each row's user and system turns: everything that a model is trained to respond to.

    Raises:
        DataError: like `read_prompts`.
    """
    return list(_prompts(path, _ASKING))


def _prompts(path: Path, roles: Collection[str]) -> Iterator[list[SeedPrompt]]:
    rows = list(placed_rows(path))
    if not rows:
        raise DataError(f"{path}: contains no prompts")
    for place, row in rows:
        yield [SeedPrompt(f"{path.stem}:{place}", text, path.name) for text in _texts(path, place, row, roles)]


def _texts(path: Path, place: int, row: Row, roles: Collection[str]) -> list[str]:
    texts = turns_of(row, roles)
    if not texts:
        raise DataError(
            f"{path}, row {place}: contains no prompt. A row needs text under one of {', '.join(_SHAPES)}; "
            f"it has {', '.join(row) or 'nothing'}. Correct or remove the row"
        )
    return texts


def prompt_of(row: Mapping[str, Any]) -> str | None:
    """The prompt of a row, from the first known key that has one; None if there is none.

    For a conversation it is the first user turn, since later ones respond to replies that are not part of the prompt.
    """
    return next(iter(turns_of(row)), None)


def turns_of(row: Mapping[str, Any], roles: Collection[str] = _USERS) -> list[str]:
    """The turns with these roles, from the first known key that has any; a plain prompt is one turn."""
    return next((texts for key, read in _SHAPES.items() if key in row and (texts := read(row, roles))), [])


def _chat(turns: Any, roles: Collection[str]) -> list[str]:
    said = [turn for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, list) else []
    texts = [
        _turn(turn.get("content", turn.get("value"))) for turn in said if turn.get("role", turn.get("from")) in roles
    ]
    return [text for text in texts if text is not None]


def _turn(content: Any) -> str | None:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str)) or None
    return content if isinstance(content, str) else None


def _prompt(row: Mapping[str, Any], roles: Collection[str]) -> list[str]:
    return [row["prompt"]] if isinstance(row["prompt"], str) else _chat(row["prompt"], roles)


def _instruction(row: Mapping[str, Any], roles: Collection[str]) -> list[str]:
    """The instruction with its input: Alpaca's `input`, or that of Self-Instruct's first instance."""
    if not isinstance(row["instruction"], str):
        return []
    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances and isinstance(instances[0], Mapping) else row
    given = first.get("input")
    return ["\n\n".join(part for part in (row["instruction"], given) if isinstance(part, str) and part.strip())]


def _turns(row: Mapping[str, Any], roles: Collection[str]) -> list[str]:
    """The turns; those without a role are the user's."""
    turns = row["turns"] if isinstance(row["turns"], list) else []
    return _chat([{"role": "user", **(t if isinstance(t, Mapping) else {"content": t})} for t in turns], roles)


def _plain(key: str) -> Callable[[Mapping[str, Any], Collection[str]], list[str]]:
    return lambda row, roles: [row[key]] if isinstance(row[key], str) else []


_SHAPES: Final[dict[str, Callable[[Mapping[str, Any], Collection[str]], list[str]]]] = {
    "messages": lambda row, roles: _chat(row["messages"], roles),
    "conversations": lambda row, roles: _chat(row["conversations"], roles),
    "prompt": _prompt,
    "instruction": _instruction,
    "turns": _turns,
    "text": _plain("text"),
    "question": _plain("question"),
    "input": _plain("input"),
}
