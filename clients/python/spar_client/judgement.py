"""A judgement of an answer, as `judge` returns it."""

from __future__ import annotations

from typing import Any, Literal

from spar_client.completion import Usage
from spar_client.tree import Body, Checklist

Verdict = Literal["yes", "no"]


class Vote(Body):
    """One vote; `verdict` is None if none could be read, and `error` says why a call failed."""

    verdict: Verdict | None
    critique: str
    error: str | None = None


class CheckResult(Body):
    """The result of a check, with its evidence."""

    id: str
    kwargs: dict[str, Any]
    passed: bool
    evidence: str


class Judgement(Body):
    """`value` is the share of Yes among the votes with a verdict: 0 if a check failed, None if all abstained.

    With the checklist judge it is the share of the items that are met, and `checklist` has them.
    """

    id: str
    created: int
    model: str
    value: float | None
    accepted: bool
    abstained: bool
    yes: int
    no: int
    critique: str | None
    votes: tuple[Vote, ...]
    checks: tuple[CheckResult, ...]
    checklist: Checklist | None = None
    usage: Usage
