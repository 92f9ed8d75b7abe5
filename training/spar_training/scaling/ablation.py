"""Ablations of the search: one thing changed at a time, paired with the default, and what it costs or saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spar_training.evals.intervals import Interval
from spar_training.scaling.arm import ABLATION_BUDGET, DEFAULT_METHOD, Arm
from spar_training.scaling.comparison import difference
from spar_training.scaling.curves import Point, point
from spar_training.scaling.trial import Trial

# The bar of early vote stop: this share of the judge's tokens saved, accuracy as before.
SAVING_BAR: Final = 0.30


@dataclass(frozen=True, slots=True)
class Ablation:
    """`difference` in strict accuracy to the default search at its own budget; shares of 1."""

    factor: str
    setting: str
    point: Point
    difference: Interval


@dataclass(frozen=True, slots=True)
class VoteSaving:
    """Early vote stop against asking all `votes`: the shares saved of the judge's tokens and calls."""

    votes: int
    tokens_saved: float
    calls_saved: float
    difference: Interval

    @property
    def equal_accuracy(self) -> bool:
        return self.difference.low <= 0 <= self.difference.high

    @property
    def met(self) -> bool:
        return self.tokens_saved >= SAVING_BAR and self.equal_accuracy


def ablations(arms: Sequence[Arm], trials: Mapping[str, Sequence[Trial]]) -> list[Ablation]:
    """Every ablation arm that has trials, and the default itself first."""
    base = trials[DEFAULT_METHOD]
    default = point(DEFAULT_METHOD, base, ABLATION_BUDGET)
    rows = [Ablation("default", "", default, difference(base, ABLATION_BUDGET, base, ABLATION_BUDGET))]
    for arm in arms:
        if arm.group == "ablation" and (ours := trials.get(arm.name)):
            budget = arm.search.budget
            gain = difference(ours, budget, base, ABLATION_BUDGET)
            rows.append(Ablation(arm.factor, arm.setting, point(arm.name, ours, budget), gain))
    return rows


def vote_savings(trials: Mapping[str, Sequence[Trial]]) -> list[VoteSaving]:
    """What early stop saves for each number of votes that was run both ways."""
    budget = ABLATION_BUDGET
    savings: list[VoteSaving] = []
    for votes in (3, 5, 9):
        early = trials.get(DEFAULT_METHOD if votes == 5 else f"votes={votes}")
        full = trials.get(f"votes={votes}, all asked")
        if not early or not full:
            continue
        shared = {(trial.index, trial.seed) for trial in full}
        paired = [trial for trial in early if (trial.index, trial.seed) in shared]
        ours, theirs = point("", paired, budget), point("", full, budget)
        savings.append(
            VoteSaving(
                votes,
                1 - ours.judge_tokens / theirs.judge_tokens,
                1 - ours.judge_calls / theirs.judge_calls,
                difference(paired, budget, full, budget),
            )
        )
    return savings
