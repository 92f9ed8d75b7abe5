"""The search tree: the draft at its root, and every expanded node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from spar_core.frozen import frozen
from spar_core.judge import Judgement
from spar_core.types import Completion

Path = tuple[int, ...]
Outcome = Literal["judged", "duplicate", "unjudged", "failed", "cancelled"]


@frozen
class Node:
    """One response in the tree.

    `completion` is None if the node has no response, `judgement` if it was not judged. `outcome` is one of:
    judged; duplicate (of an earlier response, whose judgement it shares); unjudged (no vote succeeded); failed (no
    usable refinement; `problem` says why); cancelled (another node was accepted, or time ran out).
    """

    path: Path
    outcome: Outcome
    completion: Completion | None = None
    judgement: Judgement | None = None
    problem: str | None = None

    @property
    def depth(self) -> int:
        return len(self.path)

    @property
    def value(self) -> float | None:
        return self.judgement.value if self.judgement else None

    @property
    def accepted(self) -> bool:
        return self.judgement is not None and self.judgement.accepted

    @property
    def expandable(self) -> bool:
        """Whether there is a response and a critique to refine it by."""
        return (
            self.completion is not None
            and self.outcome != "duplicate"
            and self.judgement is not None
            and self.judgement.critique is not None
        )


@dataclass(slots=True)
class Tree:
    """Nodes by path. A node is added once, after its parent."""

    root: Node
    _nodes: dict[Path, Node] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        if not node.path or node.path in self._nodes:
            raise ValueError(f"{node.path} is in the tree")
        if node.path[:-1] and node.path[:-1] not in self._nodes:
            raise ValueError(f"{node.path} has no parent in the tree")
        self._nodes[node.path] = node

    def replace(self, node: Node) -> None:
        """Replace the node at `node.path`, which must be in the tree."""
        self._nodes[node.path] = node

    def __getitem__(self, path: Path) -> Node:
        return self._nodes[path] if path else self.root

    def __contains__(self, path: object) -> bool:
        return path == () or path in self._nodes

    def __iter__(self) -> Iterator[Node]:
        """The root, then all nodes by depth and path."""
        yield self.root
        yield from sorted(self._nodes.values(), key=lambda node: (node.depth, node.path))

    def children(self, path: Path) -> int:
        """The number of children of the node at `path`."""
        return sum(node[:-1] == path for node in self._nodes)

    def __len__(self) -> int:
        """The number of expanded nodes, without the root."""
        return len(self._nodes)

    @property
    def depth(self) -> int:
        return max((len(path) for path in self._nodes), default=0)
