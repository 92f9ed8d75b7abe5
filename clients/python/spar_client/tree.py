"""A search tree, as `refine={"trace": "full"}` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Path = tuple[int, ...]
"""Locates a node: () is the draft, (0, 2) the third child of the first child."""


class Body(BaseModel):
    """Base of what the server sends. Fields of later servers are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)


class NodeVote(Body):
    """One vote; `verdict` is None if it abstained."""

    text: str
    verdict: bool | None
    error: str | None = None


class Finding(Body):
    """The result of a check."""

    passed: bool
    evidence: str


class ChecklistItem(Body):
    """One requirement: whether the response meets it, None if no vote could be read."""

    requirement: str
    source: str
    passed: bool | None
    evidence: str
    decided_by: Literal["votes", "code"]


class Checklist(Body):
    """What the checklist judge decided, item by item."""

    items: tuple[ChecklistItem, ...]


class NodeJudgement(Body):
    """The votes on a node's text, and the findings of the checks."""

    threshold: float
    votes: tuple[NodeVote, ...] = ()
    findings: tuple[Finding, ...] = ()
    report: str | None = None
    checklist: Checklist | None = None

    @property
    def accepted(self) -> bool:
        if self.checklist is not None:
            return all(item.passed for item in self.checklist.items)
        return self.report is None and self._share > self.threshold

    @property
    def critique(self) -> str | None:
        """What the refiner saw: the report of failed checks, or the first vote that agrees with the majority."""
        if self.report is not None or self.checklist is not None:
            return self.report
        return next((vote.text for vote in self.votes if vote.verdict is self.accepted), None)

    @property
    def _share(self) -> float:
        verdicts = [vote.verdict for vote in self.votes if vote.verdict is not None]
        return sum(verdicts) / len(verdicts) if verdicts else 0.0


class TreeNode(Body):
    """A draft or a refinement. With the trace "summary", and for failed nodes, `text` and `judgement` are None."""

    path: Path
    outcome: str
    value: float | None
    problem: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    judgement: NodeJudgement | None = None


class SearchTree(Body):
    """All nodes of a search, each after its parent; the first is the draft. `answer` is the path of the answer."""

    stop_reason: str
    accepted: bool
    improved: bool
    degraded: bool
    value: float | None
    draft_value: float | None
    answer: Path
    nodes: tuple[TreeNode, ...]

    @property
    def draft(self) -> TreeNode:
        return self.nodes[0]

    @property
    def best(self) -> TreeNode:
        """The node whose text is the answer."""
        return next(node for node in self.nodes if node.path == self.answer)

    def children(self, path: Sequence[int]) -> list[TreeNode]:
        """The nodes right below the one at `path`."""
        return [node for node in self.nodes if node.path and node.path[:-1] == tuple(path)]
