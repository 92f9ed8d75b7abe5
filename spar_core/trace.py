"""Write a finished search as JSON-ready data, node by node, and read it back.

A `full` trace has every text and vote, a `summary` only the tree's shape, values and outcomes. `read_tree` restores the
tree of a full trace, so that a search can be studied, replayed or used as training data without its models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from spar_core.checklist.judgement import ChecklistJudgement, checklist_of, read_checklist
from spar_core.checks.base import Finding
from spar_core.judge import Judgement, Vote
from spar_core.search.result import SearchResult
from spar_core.search.tree import Node, Tree
from spar_core.types import Completion, Usage

Detail = Literal["summary", "full"]


def write_trace(result: SearchResult, detail: Detail = "full") -> dict[str, Any]:
    """The search as JSON-ready data; `answer` is the path of the node that was returned."""
    return {
        "stop_reason": result.stop_reason,
        "accepted": result.accepted,
        "improved": result.improved,
        "degraded": result.degraded,
        "value": result.value,
        "draft_value": result.draft_value,
        "answer": list(result.best.path),
        "nodes": [_node(node, detail) for node in result.tree],
    }


def _node(node: Node, detail: Detail) -> dict[str, Any]:
    data: dict[str, Any] = {"path": list(node.path), "outcome": node.outcome, "value": node.value}
    if node.problem is not None:
        data["problem"] = node.problem
    if detail == "summary":
        return data
    if node.completion is not None:
        data["text"] = node.completion.text
        data["finish_reason"] = node.completion.finish_reason
        data["usage"] = _usage(node.completion.usage)
    if node.judgement is not None:
        data["judgement"] = write_judgement(node.judgement)
    return data


def write_judgement(judgement: Judgement) -> dict[str, Any]:
    """A judgement as JSON-ready data, with every vote."""
    data = {
        "threshold": judgement.threshold,
        "votes": [_vote(vote) for vote in judgement.votes],
        "findings": [_finding(finding) for finding in judgement.findings],
        "report": judgement.report,
    }
    checklist = checklist_of(judgement)
    return data if checklist is None else {**data, "checklist": checklist}


# Written out because `asdict` copies every value, which would be most of the work of writing a trace.
def _vote(vote: Vote) -> dict[str, Any]:
    return {
        "text": vote.text,
        "verdict": vote.verdict,
        "usage": _usage(vote.usage),
        "error": vote.error,
        "status": vote.status,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "prompt_counted": usage.prompt_counted,
        "completion_counted": usage.completion_counted,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    data = {"passed": finding.passed, "evidence": finding.evidence}
    return {**data, "form": True} if finding.form else data


def read_judgement(data: Mapping[str, Any]) -> Judgement:
    """Read a judgement that `write_judgement` wrote."""
    votes = tuple(Vote(**{**vote, "usage": Usage(**vote["usage"])}) for vote in data["votes"])
    findings = tuple(Finding(**finding) for finding in data["findings"])
    given = (votes, data["threshold"], findings, data["report"])
    if "checklist" in data:
        return ChecklistJudgement(*given, **read_checklist(data["checklist"]))
    return Judgement(*given)


def read_tree(trace: Mapping[str, Any]) -> Tree:
    """The tree of a full trace.

    Raises:
        ValueError: the trace has no nodes, or its first is not the draft.
    """
    nodes = [_read_node(data) for data in trace["nodes"]]
    if not nodes or nodes[0].path:
        raise ValueError("a trace starts with its draft, the node with an empty path")
    tree = Tree(nodes[0])
    for node in nodes[1:]:
        tree.add(node)
    return tree


def _read_node(data: Mapping[str, Any]) -> Node:
    completion = judgement = None
    if "text" in data:
        completion = Completion(data["text"], data["finish_reason"], Usage(**data["usage"]))
    if judgement_data := data.get("judgement"):
        judgement = read_judgement(judgement_data)
    return Node(tuple(data["path"]), data["outcome"], completion, judgement, data.get("problem"))
