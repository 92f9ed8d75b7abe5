"""FollowBench's rows: groups of instructions, each level with one more constraint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import DataError
from spar_training.evals.datasets import data_file, read_list

KINDS: Final = ("content", "situation", "style", "format", "example", "mixed")
LEVELS: Final = (1, 2, 3, 4, 5)
_NEEDS: Final = {"example_id": int, "source": str, "level": int, "instruction": str, "target": str}


@dataclass(frozen=True, slots=True)
class Row:
    """An instruction of level 1 to 5.

    `path` holds the group's instructions from level 0 (level 1 for the kind `example`) up to this one, to show a judge
    how the constraints were added.
    """

    kind: str
    example: int
    level: int
    source: str
    instruction: str
    target: str
    path: tuple[str, ...]

    @property
    def group(self) -> str:
        return f"{self.kind}/{self.example}"

    @property
    def id(self) -> str:
        return f"{self.group}/{self.level}"


def read_groups(data: Path, limit: int | None) -> list[list[Row]]:
    """Read the first `limit` groups of each kind, each with its five levels in order.

    Raises:
        ConfigError: a file is missing.
        DataError: a group does not have each of the five levels exactly once, or an instruction is empty.
    """
    return [group for kind in KINDS for group in _groups(data, kind)[:limit]]


def _groups(data: Path, kind: str) -> list[list[Row]]:
    file = data_file(data, f"followbench/{kind}_constraints.json")
    by_example: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for number, row in enumerate(read_list(file, _NEEDS), start=1):
        levels, level = by_example[row["example_id"]], row["level"]
        if level in levels:
            raise DataError(f"{file}, item {number}: example {row['example_id']} has level {level} already")
        if level in LEVELS and not row["instruction"].strip():
            raise DataError(f"{file}, item {number}: instruction is empty")
        levels[level] = row
    return [_group(file, kind, example, levels) for example, levels in by_example.items()]


def _group(file: Path, kind: str, example: int, levels: Mapping[int, Mapping[str, Any]]) -> list[Row]:
    if not set(LEVELS) <= set(levels):
        raise DataError(f"{file}, example {example}: has the levels {sorted(levels)}, needs {list(LEVELS)}")
    path = {level: levels[level]["instruction"] for level in sorted(levels)}
    return [
        Row(
            kind=kind,
            example=example,
            level=level,
            source=levels[level]["source"],
            instruction=path[level],
            target=levels[level]["target"],
            path=tuple(text for at, text in path.items() if at <= level),
        )
        for level in LEVELS
    ]
