"""FollowBench's rows: groups of instructions that grow by one constraint a level."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spar_core.errors import DataError
from spar_training.evals.data import data_file, read_list

KINDS: Final = ("content", "situation", "style", "format", "example", "mixed")
LEVELS: Final = (1, 2, 3, 4, 5)
_NEEDS: Final = ("example_id", "source", "level", "instruction", "target")


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction of level 1 to 5.

    `path` holds the group's instructions from level 0 on (there is none of level 0 where the kind is `example`) to this
    one; a judge is shown how the constraints were added.
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
    """The groups of all kinds, each with its five levels in order; of each kind the first `limit` groups.

    Raises:
        ConfigError: a file is not there.
        DataError: a group has not each of the five levels once.
    """
    return [group for kind in KINDS for group in _groups(data, kind)[:limit]]


def _groups(data: Path, kind: str) -> list[list[Row]]:
    file = data_file(data, f"followbench/{kind}_constraints.json")
    by_example: dict[int, dict[int, dict[str, object]]] = defaultdict(dict)
    for row in read_list(file, _NEEDS):
        by_example[row["example_id"]][row["level"]] = row
    groups = []
    for example, levels in by_example.items():
        if not set(LEVELS) <= set(levels):
            raise DataError(f"{file}, example {example}: has the levels {sorted(levels)}, needs {list(LEVELS)}")
        path = {level: str(levels[level]["instruction"]) for level in sorted(levels)}
        groups.append(
            [
                Row(
                    kind=kind,
                    example=example,
                    level=level,
                    source=str(levels[level]["source"]),
                    instruction=path[level],
                    target=str(levels[level]["target"]),
                    path=tuple(text for at, text in path.items() if at <= level),
                )
                for level in LEVELS
            ]
        )
    return groups
