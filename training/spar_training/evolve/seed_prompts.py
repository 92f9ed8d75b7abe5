"""Prompts from JSONL and JSON files of the shapes in which collections of prompts come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.files import Row, numbered_rows


@dataclass(frozen=True, slots=True)
class SeedPrompt:
    """`id` is the file's name and the row's place in it, from 1, e.g. `vicuna_question:4`; `source` the file's name."""

    id: str
    text: str
    source: str


def read_prompts(paths: Sequence[Path]) -> list[SeedPrompt]:
    """The prompts of several files, in order.

    Raises:
        ConfigError: two files have one name, so that their prompts could not be told apart.
        DataError: a file is missing or damaged, or a row has no prompt; names file, place and what is looked for.
    """
    stems = [path.stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ConfigError(f"several files are called {twice[0]}; rename one, since prompts are named after their file")
    return [
        SeedPrompt(f"{path.stem}:{place}", _prompt(path, place, row), path.name)
        for path in paths
        for place, row in placed_rows(path)
    ]


def placed_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The objects of a JSONL file, or of a JSON array where the name ends in `.json`; each with its place, from 1.

    Raises:
        DataError: the file is missing or is not of that form.
    """
    if path.suffix != ".json":
        yield from numbered_rows(path)
        return
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); one object a line goes into a .jsonl file") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: must be an array of objects")
    yield from enumerate(rows, start=1)


def _prompt(path: Path, place: int, row: Row) -> str:
    text = prompt_of(row)
    if text is None:
        raise DataError(
            f"{path}, row {place}: no prompt in it. A row needs one of {', '.join(_SHAPES)} with text in it; "
            f"it has {', '.join(row) or 'nothing'}. Mend or remove the row"
        )
    return text


def prompt_of(row: Mapping[str, Any]) -> str | None:
    """The prompt that a row holds, under the first key known; None when it has none.

    Of a conversation the first user's turn is taken: what follows answers to replies that are not there.
    """
    return next((text for key, read in _SHAPES.items() if key in row and (text := read(row)) is not None), None)


def _chat(row: Mapping[str, Any], key: str = "messages") -> str | None:
    turns = row[key] if isinstance(row[key], list) else []
    said = (turn for turn in turns if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in _USERS)
    return next((text for turn in said if (text := _turn(turn.get("content", turn.get("value")))) is not None), None)


def _turn(content: Any) -> str | None:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str)) or None
    return content if isinstance(content, str) else None


def _instruction(row: Mapping[str, Any]) -> str | None:
    """The instruction, and what it is to be applied to: Alpaca's `input`, or the first of Self-Instruct's instances."""
    if not isinstance(row["instruction"], str):
        return None
    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances and isinstance(instances[0], Mapping) else row
    given = first.get("input")
    return "\n\n".join(part for part in (row["instruction"], given) if isinstance(part, str) and part.strip())


def _turns(row: Mapping[str, Any]) -> str | None:
    first = row["turns"][0] if isinstance(row["turns"], list) and row["turns"] else None
    return _turn(first.get("content") if isinstance(first, Mapping) else first)


def _plain(key: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda row: row[key] if isinstance(row[key], str) else None


_USERS: Final = ("user", "human")
_SHAPES: Final[dict[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "messages": _chat,
    "conversations": lambda row: _chat(row, "conversations"),
    "prompt": lambda row: row["prompt"] if isinstance(row["prompt"], str) else _chat(row, "prompt"),
    "instruction": _instruction,
    "turns": _turns,
    "text": _plain("text"),
    "question": _plain("question"),
    "input": _plain("input"),
}
