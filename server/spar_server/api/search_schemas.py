"""Schemas of a search for the OpenAPI document: its tree, and the events of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NodePath = Annotated[
    list[int], Field(description="locates a node: [] is the draft, [0, 2] the third child of its first child")
]
Verdict = Literal["yes", "no"]


class Body(BaseModel):
    """A response body; fields that are not described are allowed."""

    model_config = ConfigDict(extra="allow")


class Tokens(Body):
    """Null if the upstream does not count tokens."""

    prompt: int | None
    completion: int | None


class ChecklistItem(Body):
    """A requirement, and what decided it: votes, or the check `id`."""

    requirement: str
    source: str
    passed: bool | None = Field(description="null if no vote could be read")
    evidence: str
    decided_by: Literal["votes", "code"]
    id: str | None = Field(default=None, description="of the check that decided")
    kwargs: dict[str, Any] | None = None
    yes: int | None = Field(default=None, description="votes that the requirement is met")
    no: int | None = None


class DroppedItem(Body):
    """An extracted item that was left off the list."""

    requirement: str
    source: str
    reason: str


class Checklist(Body):
    """The checklist judge's decision, item by item."""

    items: list[ChecklistItem]
    dropped: list[DroppedItem]
    problem: str | None = Field(default=None, description="why no items could be extracted")


class NodeVote(Body):
    text: str
    verdict: bool | None = Field(description="null is an abstention")
    error: str | None = Field(description="why the call failed, or null")


class Finding(Body):
    """The result of a check."""

    passed: bool
    evidence: str


class NodeJudgement(Body):
    threshold: float
    votes: list[NodeVote]
    findings: list[Finding]
    report: str | None = Field(description="the critique, if checks or a checklist wrote it instead of a vote")
    checklist: Checklist | None = None


class TreeNode(Body):
    """A draft or a refinement. With `refine.trace` "summary", texts and judgements are left out."""

    path: NodePath
    outcome: Literal["judged", "duplicate", "unjudged", "failed", "cancelled"]
    value: float | None = Field(description="share of Yes among its votes with a verdict; null without one")
    problem: str | None = Field(default=None, description="why there is no usable text")
    text: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    judgement: NodeJudgement | None = None


class SearchTree(Body):
    """All nodes of a search, each after its parent; the first is the draft."""

    stop_reason: str
    accepted: bool
    improved: bool
    degraded: bool
    value: float | None
    draft_value: float | None
    answer: NodePath
    nodes: list[TreeNode]


class SearchStep(Body):
    choice: int | None = Field(default=None, description="the number of the search, if n > 1")


class DraftStep(SearchStep):
    """The draft is complete."""

    type: Literal["draft"]
    text: str
    usage: Tokens


class VoteStep(SearchStep):
    """One vote on the text at `path`."""

    type: Literal["vote"]
    path: NodePath
    verdict: Verdict | None = Field(description="null is an abstention")
    critique: str
    error: str | None = Field(description="why the call failed, or null")
    usage: Tokens


class CallStep(SearchStep):
    """A model call for the text at `path` is over; times are since the search began."""

    type: Literal["call"]
    path: NodePath
    role: Literal["actor", "refiner", "judge"]
    count: int = Field(description="how many completions it asked for")
    started_ms: float
    ended_ms: float
    outcome: Literal["finished", "failed", "cancelled"]
    usage: Tokens
    messages: list[dict[str, Any]] | None = Field(default=None, description="what was sent, with `refine.prompts`")


class JudgementStep(SearchStep):
    """All votes on the text at `path` are in."""

    type: Literal["judgement"]
    path: NodePath
    text: str
    value: float | None
    accepted: bool
    abstained: bool
    yes: int
    no: int
    critique: str | None
    checklist: Checklist | None = None


class NodeStep(SearchStep):
    """A node begins."""

    type: Literal["node"]
    path: NodePath
    critique: str | None = Field(description="what it refines by; null for a fresh draft")


class RefinementStep(SearchStep):
    """The refinement at `path` is complete, or failed."""

    type: Literal["refinement"]
    path: NodePath
    text: str | None
    failure: str | None
    usage: Tokens


class FinishStep(SearchStep):
    """A search is over."""

    type: Literal["finish"]
    stop_reason: str
    answer: NodePath
    accepted: bool
    improved: bool
    nodes: int


Step = Annotated[
    DraftStep | CallStep | VoteStep | JudgementStep | NodeStep | RefinementStep | FinishStep,
    Field(discriminator="type"),
]


class ChunkSpar(Body):
    """On the last chunk `trace_id`, `degraded`, and as requested the tree; with `refine.events` steps before it."""

    event: Step | None = None
    trace_id: str | None = None
    degraded: bool | None = None
    checklist: Checklist | None = None
    tree: SearchTree | None = None
    trees: list[SearchTree] | None = None
