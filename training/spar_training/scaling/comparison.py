"""Paired comparisons: a method against best-of-N that may spend at least as much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from spar_training.evals.intervals import Interval, interval
from spar_training.scaling.curves import by_prompt, mean_calls, mean_tokens
from spar_training.scaling.trial import Trial

Axis = Literal["tokens", "calls", "budget"]
Mean = Callable[[Sequence[Trial], int], float]
_MEANS: dict[str, Mean] = {"tokens": mean_tokens, "calls": mean_calls}


@dataclass(frozen=True, slots=True)
class Reference:
    """A kind of best-of-N and its trials up to its `largest` budget."""

    name: str
    trials: Sequence[Trial]
    largest: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the method's strict accuracy less that of best-of-N, paired by prompt.

    `reference` is the kind of best-of-N and `reference_budget` its budget: the samples after the draft. `spent` and
    `reference_spent` are both means on the axis. Where best-of-N at its largest budget spends less than the method,
    `equal` is False: it could not be given as much.
    """

    method: str
    budget: int
    axis: Axis
    reference: str
    reference_budget: int
    spent: float
    reference_spent: float
    equal: bool
    difference: Interval

    @property
    def n(self) -> int:
        """Best-of-N's N: the most samples that it may draw, the draft among them."""
        return self.reference_budget + 1

    @property
    def verdict(self) -> Literal["method", "reference", "open"]:
        """Who is ahead; open where the interval holds zero."""
        if self.difference.low > 0:
            return "method"
        return "reference" if self.difference.high < 0 else "open"


def compare(method: str, trials: Sequence[Trial], budget: int, reference: Reference, *, axis: Axis) -> Comparison:
    """The method at `budget` against best-of-N at the smallest N whose mean on the axis is at least the method's.

    So best-of-N is never given less, and at most one sample more. On the axis "budget" both have the same.
    """
    if axis == "budget":
        theirs, spent, given = budget, float(budget), float(budget)
    else:
        mean = _MEANS[axis]
        spent = mean(trials, budget)
        enough = (b for b in range(reference.largest + 1) if mean(reference.trials, b) >= spent)
        theirs = next(enough, reference.largest)
        given = mean(reference.trials, theirs)
    return Comparison(
        method=method,
        budget=budget,
        axis=axis,
        reference=reference.name,
        reference_budget=theirs,
        spent=spent,
        reference_spent=given,
        equal=given >= spent,
        difference=difference(trials, budget, reference.trials, theirs),
    )


def difference(one: Sequence[Trial], budget: int, other: Sequence[Trial], other_budget: int) -> Interval:
    """Strict accuracy of one less the other's, over the prompts and seeds that both have."""
    common = {(trial.index, trial.seed) for trial in one} & {(trial.index, trial.seed) for trial in other}
    ours = by_prompt([t for t in one if (t.index, t.seed) in common], lambda t: t.answer(budget).strict)
    theirs = by_prompt([t for t in other if (t.index, t.seed) in common], lambda t: t.answer(other_budget).strict)
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])
