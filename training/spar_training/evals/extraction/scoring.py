"""Compare extracted checks with annotated ones: ids, and kwargs exactly.

Precision counts most: a check that nobody asked for rejects good responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks import Check
from spar_training.reports.intervals import Interval, proportion_interval
from spar_training.storage.files import Row

FIGURES: Final[Mapping[str, str]] = {
    "id_precision": "extracted checks whose id is annotated",
    "id_recall": "annotated checks whose id is extracted",
    "precision": "extracted checks that are annotated, with equal kwargs",
    "recall": "annotated checks that are extracted, with equal kwargs",
    "complete": "prompts whose extracted checks are exactly the annotated ones",
    "without_error": "prompts without a check that is not annotated",
}


@dataclass(frozen=True, slots=True)
class Extracted:
    """The annotated and the extracted checks of one prompt."""

    id: str
    annotated: tuple[Check, ...]
    extracted: tuple[Check, ...]

    @property
    def precise(self) -> list[bool]:
        """For each extracted check, whether it is annotated."""
        known = [_key(check) for check in self.annotated]
        return [_key(check) in known for check in self.extracted]

    @property
    def recalled(self) -> list[bool]:
        """For each annotated check, whether it is extracted."""
        known = [_key(check) for check in self.extracted]
        return [_key(check) in known for check in self.annotated]

    def row(self) -> Row:
        return {
            "id": self.id,
            "annotated": [_written(check) for check in self.annotated],
            "extracted": [_written(check) for check in self.extracted],
        }


def figures(prompts: Sequence[Extracted]) -> dict[str, Interval]:
    """Every figure of `FIGURES`, with Wilson intervals."""
    ids = [({c.id for c in one.annotated}, {c.id for c in one.extracted}, one) for one in prompts]
    outcomes: dict[str, list[bool]] = {
        "id_precision": [check.id in annotated for annotated, _, one in ids for check in one.extracted],
        "id_recall": [check.id in extracted for _, extracted, one in ids for check in one.annotated],
        "precision": [outcome for one in prompts for outcome in one.precise],
        "recall": [outcome for one in prompts for outcome in one.recalled],
        "complete": [all(one.precise) and all(one.recalled) for one in prompts],
        "without_error": [all(one.precise) for one in prompts],
    }
    return {name: proportion_interval(outcomes[name]) for name in FIGURES}


def by_type(prompts: Sequence[Extracted]) -> dict[str, tuple[Interval, Interval]]:
    """Precision and recall with equal kwargs, by id."""
    ids = sorted({check.id for one in prompts for check in (*one.annotated, *one.extracted)})
    return {
        id: (
            proportion_interval([x for one in prompts for x in _of(id, one.extracted, one.precise)]),
            proportion_interval([x for one in prompts for x in _of(id, one.annotated, one.recalled)]),
        )
        for id in ids
    }


def _of(id: str, checks: Sequence[Check], outcomes: Iterable[bool]) -> list[bool]:
    return [outcome for check, outcome in zip(checks, outcomes, strict=True) if check.id == id]


def _key(check: Check) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """A check for comparison: lists of words are sets, and case does not matter, as in most checks."""
    return check.id, tuple((name, _plain(value)) for name, value in sorted(check.kwargs.items()))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().lower()
    return frozenset(map(_plain, value)) if isinstance(value, list | tuple) else value


def _written(check: Check) -> Row:
    return {"id": check.id, "kwargs": dict(check.kwargs)}
