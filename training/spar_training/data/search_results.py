"""Finished searches from negatives, read back from their file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spar_core.search.tree import Node, Path, Tree
from spar_core.trace import read_tree
from spar_training.data.negatives import Negative
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class Searched:
    """`answer` is the path of the best node, accepted or not; `replies` are the refiner's complete replies by node."""

    negative: Negative
    tree: Tree
    accepted: bool
    answer: Path
    replies: Mapping[Path, str]

    @property
    def id(self) -> str:
        return self.negative.id

    @property
    def best(self) -> Node:
        return self.tree[self.answer]

    @property
    def parent(self) -> Node:
        """The node that the best node refines."""
        return self.tree[self.answer[:-1]]


def read_searches(rows: Iterable[Row], negatives: Mapping[str, Negative]) -> list[Searched]:
    """The searches in the rows of a stage, with the negatives that they started from."""
    return [
        Searched(
            negatives[row["id"]],
            read_tree(row["trace"]),
            row["trace"]["accepted"],
            tuple(row["trace"]["answer"]),
            {tuple(map(int, path.split("."))): reply for path, reply in row["replies"].items()},
        )
        for row in rows
    ]
