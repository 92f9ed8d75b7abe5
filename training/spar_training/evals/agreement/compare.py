"""Compare two checkers pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spar_core.checks import build_check, verify
from spar_training.evals.agreement.cases import Pair
from spar_training.evals.agreement.reference import Reference


@dataclass(frozen=True, slots=True)
class Compared:
    """One pair's verdicts in one mode; `theirs` is None where the reference failed."""

    pair: Pair
    loose: bool
    ours: bool
    theirs: bool | None

    @property
    def agree(self) -> bool:
        return self.ours == self.theirs

    @property
    def drawn(self) -> bool:
        """Whether the reference judged something drawn at random in place of what the instruction names."""
        return not str(self.pair.instruction.kwargs.get("letter", "a")).isalpha()


def compare(pairs: Iterable[Pair], reference: Reference, tell: Callable[[], None] = lambda: None) -> list[Compared]:
    """Each pair strictly and loosely. `tell` hears of every pair that is done."""
    compared = []
    for pair in pairs:
        check = build_check(pair.instruction.id, pair.instruction.kwargs)
        for loose in (False, True):
            ours = verify((check,), pair.response, loose=loose)[0].passed
            theirs = reference(pair.instruction.id, pair.instruction.kwargs, pair.response, loose)
            compared.append(Compared(pair, loose, ours, theirs))
        tell()
    return compared
