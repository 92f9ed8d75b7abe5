"""Compare the two checkers case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spar_core.checks import build_check, verify
from spar_training.evals.agreement.cases import Case
from spar_training.evals.agreement.reference import Reference


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both verdicts on a case in one mode; `theirs` is None if the reference failed."""

    case: Case
    loose: bool
    ours: bool
    theirs: bool | None

    @property
    def agree(self) -> bool:
        return self.ours == self.theirs

    @property
    def randomized(self) -> bool:
        """Whether the reference checked a random letter instead of the character that the instruction names."""
        return not str(self.case.instruction.kwargs.get("letter", "a")).isalpha()


def compare(
    cases: Iterable[Case], reference: Reference, on_case: Callable[[], None] = lambda: None
) -> list[Comparison]:
    """Check each case strictly and loosely. `on_case` is called after each."""
    compared = []
    for case in cases:
        check = build_check(case.instruction.id, case.instruction.kwargs)
        for loose in (False, True):
            ours = verify((check,), case.response, loose=loose)[0].passed
            theirs = reference(case.instruction.id, case.instruction.kwargs, case.response, loose)
            compared.append(Comparison(case, loose, ours, theirs))
        on_case()
    return compared
