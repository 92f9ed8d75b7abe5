"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from spar_core.search.tree import Node, Tree
from spar_core.types import Cancelled, Completion, ModelRole, Usage

StopReason = Literal[
    "pass_through",
    "draft_accepted",
    "refined_accepted",
    "budget",
    "depth",
    "tokens",
    "deadline",
    "no_candidates",
    "abstained",
    "upstream",
]
# What ends a search that could have gone on, the most urgent first.
CUT_SHORT: Final[tuple[StopReason, ...]] = ("deadline", "upstream", "tokens")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """`answer` is the draft unless a node is strictly better by vote.

    `calls` and `usage` are by model role; each vote is one judge call. `judgements` counts responses that
    were voted on (one request with n votes in the paper's terms). `nodes` counts every expanded
    node, failed and cancelled ones too. `degraded` says that a model call failed on the way.
    `cancelled` are the calls that were cut short: among the `calls`, but not in the `usage`.
    """

    best: Node
    tree: Tree
    stop_reason: StopReason
    degraded: bool
    calls: Mapping[ModelRole, int]
    usage: Mapping[ModelRole, Usage]
    judgements: int
    duration_s: float
    cancelled: Mapping[ModelRole, Cancelled] = field(default_factory=dict)

    @property
    def draft(self) -> Completion:
        draft = self.tree.root.completion
        assert draft is not None
        return draft

    @property
    def answer(self) -> Completion:
        answer = self.best.completion
        assert answer is not None
        return answer

    @property
    def improved(self) -> bool:
        return self.best is not self.tree.root

    @property
    def accepted(self) -> bool:
        return self.best.accepted

    @property
    def value(self) -> float | None:
        return self.best.value

    @property
    def draft_value(self) -> float | None:
        return self.tree.root.value

    @property
    def nodes(self) -> int:
        return len(self.tree)

    @property
    def depth(self) -> int:
        """Depth of the answer's node: how many refinements it is from the draft."""
        return self.best.depth
