"""What the runs of a study have measured so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar_core.errors import ConfigError
from spar_training.self_play.played import Evaluation, Played, read_played
from spar_training.self_play.preference import PairRow
from spar_training.self_play.study import Arm, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The runs that were begun, in the study's order."""

    study: Study
    runs: Sequence[Played]

    def of(self, arm: str) -> list[Played]:
        return [run for run in self.runs if run.arm == arm]

    def at(self, arm: str, iteration: int) -> dict[int, Evaluation]:
        """By seed, where measured."""
        return {run.seed: run.evaluations[iteration] for run in self.of(arm) if iteration in run.evaluations}

    def pairs(self, arm: str, iteration: int) -> dict[int, Sequence[PairRow]]:
        """The actor's training pairs by seed, where made."""
        return {run.seed: run.pairs[iteration] for run in self.of(arm) if iteration in run.pairs}

    def iterations(self, arm: str) -> list[int]:
        """Those that have been measured with any seed."""
        return sorted({number for run in self.of(arm) for number in run.evaluations})

    def seconds(self, arm: str) -> Mapping[str, float]:
        """By step, of all seeds together."""
        total: dict[str, float] = {}
        for step, seconds in ((step, seconds) for run in self.of(arm) for step, seconds in run.seconds.items()):
            total[step] = total.get(step, 0.0) + seconds
        return total

    def missing(self) -> list[str]:
        """A sentence for each arm and piece that is not there."""
        return [line for arm in self.study.arms for line in self._missing(arm)]

    def _missing(self, arm: Arm) -> list[str]:
        runs = {run.seed: run for run in self.of(arm.name)}
        lacking = {"not begun": [seed for seed in self.study.seeds if seed not in runs]}
        for number in range(arm.recipe.iterations + 1):
            lacking[f"iteration {number} is not finished"] = [
                seed for seed, run in runs.items() if number not in run.evaluations
            ]
        return [f"{arm.name}, seed {', '.join(map(str, seeds))}: {what}" for what, seeds in lacking.items() if seeds]

    def differing(self) -> list[str]:
        """A sentence for each thing that a run did not do as the study says."""
        return [line for run in self.runs for line in run.differing]


def read_outcomes(study: Study, out: Path) -> Outcomes:
    """Read everything that is there.

    Raises:
        ConfigError: nothing of the study has been measured under `out`.
        DataError: a file is damaged; names it.
    """
    read = [read_played(study, arm, seed, out=out) for arm in study.arms for seed in study.seeds]
    runs = [run for run in read if run]
    if not any(run.evaluations for run in runs):
        raise ConfigError(f"{out}: nothing of the study {study.name} has been measured here; leave out --report-only")
    return Outcomes(study=study, runs=runs)
