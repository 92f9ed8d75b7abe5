"""The result of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final, Literal

from spar_core.frozen import frozen
from spar_core.search.tree import Node, Tree
from spar_core.types import Cancelled, Completion, ModelRole, Usage

StopReason = Literal[
    "pass_through",
    "draft_accepted",
    "refined_accepted",
    "budget",
    "depth",
    "tokens",
    "cost",
    "deadline",
    "no_candidates",
    "done",
    "abstained",
    "upstream",
]
# Reasons that end a search early, the most urgent first.
CUT_SHORT: Final[tuple[StopReason, ...]] = ("deadline", "upstream", "cost", "tokens")


@frozen
class SearchResult:
    """The outcome of one search. `answer` is the draft unless a node is strictly better by vote.

    `calls` and `usage` are by model role; each vote is one judge call. `judgements` counts the responses that were
    voted on (one request with n votes in the paper's terms). `nodes` counts every expanded node, including failed and
    cancelled ones. `degraded` is set if a model call failed. `cancelled` calls are counted in `calls`, but not in
    `usage`.
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
        """The depth of the answer's node: the number of refinements between it and the draft."""
        return self.best.depth
