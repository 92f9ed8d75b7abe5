"""The judgement of a response by a checklist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from spar_core.checklist.items import EVERYTHING, Dropped, Item, Source
from spar_core.frozen import frozen
from spar_core.judge import Judgement


@frozen
class ItemResult:
    """What decided an item. `passed` is None if no vote on it can be read.

    `id` and `kwargs` are those of a check, which code decided; a requirement in words has neither, and the numbers of
    votes instead. `evidence` says what was found.
    """

    requirement: str
    source: Source
    passed: bool | None
    evidence: str
    id: str | None = None
    kwargs: Mapping[str, Any] | None = None
    yes: int = 0
    no: int = 0

    @property
    def decided_by(self) -> str:
        return "votes" if self.id is None else "code"

    def data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        data = {**asdict(self), "decided_by": self.decided_by}
        unused = ("id", "kwargs") if self.id is None else ("yes", "no")
        return {name: value for name, value in data.items() if name not in unused}


@frozen
class DroppedResult:
    """An extracted item that was left off the list, and why."""

    requirement: str
    source: Source
    reason: str
    id: str | None = None
    kwargs: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, dropped: Dropped) -> DroppedResult:
        item = dropped.item
        return cls(item.requirement, item.source, dropped.reason, *_of_check(item))


@frozen
class ChecklistJudgement(Judgement):
    """A judgement item by item. It is accepted if every item passes.

    `value` is the share of items that pass, so that two rejected responses can be ranked; the share of Yes if the only
    item is the instruction as a whole. If no item failed and votes on one cannot be read, it is an abstention.
    `critique` lists the failed items with their evidence, nothing else. `findings` are those of the request's own
    checks.
    """

    items: tuple[ItemResult, ...] = ()
    dropped: tuple[DroppedResult, ...] = ()
    problem: str | None = None

    @property
    def value(self) -> float | None:
        if [item.requirement for item in self.items] == [EVERYTHING]:
            return self.yes / (self.yes + self.no) if self.yes + self.no else None
        passed = sum(item.passed is True for item in self.items)
        if not self.failed_items and passed < len(self.items):
            return None
        return passed / len(self.items)

    @property
    def accepted(self) -> bool:
        return all(item.passed for item in self.items)

    @property
    def failed(self) -> bool:
        """Whether every vote failed and code decided nothing against the response."""
        return self.abstained and bool(self.votes) and all(vote.error is not None for vote in self.votes)

    @property
    def failed_items(self) -> tuple[ItemResult, ...]:
        return tuple(item for item in self.items if item.passed is False)

    @property
    def tally(self) -> str:
        return f"{sum(item.passed is True for item in self.items)} of {len(self.items)} items met"

    @property
    def critique(self) -> str | None:
        return self.report

    def checklist(self) -> dict[str, Any]:
        """The items, what decided each, and what was dropped, as JSON-ready data."""
        data: dict[str, Any] = {
            "items": [item.data() for item in self.items],
            "dropped": [
                {name: value for name, value in asdict(each).items() if value is not None} for each in self.dropped
            ],
        }
        return data if self.problem is None else {**data, "problem": self.problem}


def result_of(item: Item, passed: bool | None, evidence: str, *, yes: int = 0, no: int = 0) -> ItemResult:
    return ItemResult(item.requirement, item.source, passed, evidence, *_of_check(item), yes=yes, no=no)


def checklist_of(judgement: Judgement | None) -> dict[str, Any] | None:
    """The checklist of a judgement as JSON-ready data; None if it was not judged by one."""
    return judgement.checklist() if isinstance(judgement, ChecklistJudgement) else None


def read_checklist(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ChecklistJudgement` from what `checklist_of` wrote."""
    items = tuple(
        ItemResult(**{name: value for name, value in item.items() if name != "decided_by"}) for item in data["items"]
    )
    return {
        "items": items,
        "dropped": tuple(DroppedResult(**each) for each in data["dropped"]),
        "problem": data.get("problem"),
    }


def _of_check(item: Item) -> tuple[str | None, Mapping[str, Any] | None]:
    return (None, None) if item.check is None else (item.check.id, dict(item.check.kwargs))
