"""The results of a study's runs, read from their folders: training pairs, evaluations, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from spar_core.checks import Check, verify
from spar_core.errors import ConfigError
from spar_training.data.prompts import read_prompts
from spar_training.reports.intervals import Interval, interval
from spar_training.runs.folder import Iteration, Run, read_run
from spar_training.storage.files import Row, read_rows
from spar_training.studies.self_play.runner import recipe_for
from spar_training.studies.self_play.study import Arm, Study, run_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """A preference pair. `chosen_right` and `rejected_wrong` are None if the prompt has no checks."""

    prompt: str
    similarity: float
    chosen_words: int
    rejected_words: int
    chosen_right: bool | None
    rejected_wrong: bool | None


def read_pairs(iteration: Iteration) -> list[PreferencePair]:
    """Read the preference pairs of an iteration whose data step is finished.

    Raises:
        DataError: a file is missing or damaged; names it.
    """
    verifiers = {prompt.id: prompt.verifiers() for prompt in read_prompts(iteration.file("prompts.jsonl"))}
    rows = read_rows(iteration.file("dpo.jsonl"), needs=("id", "chosen", "rejected", "provenance"))
    return [_pair(row, verifiers.get(str(row["id"]), ())) for row in rows]


def _pair(row: Row, checks: tuple[Check, ...]) -> PreferencePair:
    chosen, rejected = (str(row[side][-1]["content"]) for side in ("chosen", "rejected"))
    return PreferencePair(
        prompt=str(row["id"]),
        similarity=float(row["provenance"]["similarity"]),
        chosen_words=len(chosen.split()),
        rejected_words=len(rejected.split()),
        chosen_right=_passes(checks, chosen) if checks else None,
        rejected_wrong=not _passes(checks, rejected) if checks else None,
    )


def _passes(checks: tuple[Check, ...], text: str) -> bool:
    return all(finding.passed for finding in verify(checks, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatistics:
    """Statistics of an iteration's preference pairs over all seeds: means with intervals, lengths in words.

    `counts` is the number of pairs by seed. `both` is the share of pairs whose chosen side is right and whose rejected
    side is wrong.
    """

    arm: str
    iteration: int
    counts: Mapping[int, int]
    similarity: Interval
    chosen_right: Interval
    rejected_wrong: Interval
    both: Interval
    chosen_words: float
    rejected_words: float


def pair_statistics(arm: str, iteration: int, by_seed: Mapping[int, Sequence[PreferencePair]]) -> PairStatistics:
    """Compute the statistics of an iteration with at least one pair.

    Each seed has its own prompts, so the pairs are independent.
    """
    pairs = [pair for rows in by_seed.values() for pair in rows]
    checked = [pair for pair in pairs if pair.chosen_right is not None and pair.rejected_wrong is not None]
    return PairStatistics(
        arm=arm,
        iteration=iteration,
        counts={seed: len(rows) for seed, rows in by_seed.items()},
        similarity=interval([pair.similarity for pair in pairs]),
        chosen_right=interval([float(bool(pair.chosen_right)) for pair in checked]),
        rejected_wrong=interval([float(bool(pair.rejected_wrong)) for pair in checked]),
        both=interval([float(bool(pair.chosen_right and pair.rejected_wrong)) for pair in checked]),
        chosen_words=mean(pair.chosen_words for pair in pairs),
        rejected_words=mean(pair.rejected_words for pair in pairs),
    )


Rows = Mapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The evaluation of one model pair, as rows by prompt. `searched` is empty if the search was not measured."""

    drafts: Rows
    judged: Rows
    searched: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """The results of one run; `evaluations` and `pairs` are by iteration, as far as they are finished.

    `differing` lists in sentences where the run's recipe differs from the study's. `seconds` are by step, over all
    iterations.
    """

    arm: str
    seed: int
    evaluations: Mapping[int, Evaluation]
    pairs: Mapping[int, Sequence[PreferencePair]]
    differing: Sequence[str]
    seconds: Mapping[str, float]
    made_with: str
    measured_on: str


def read_run_results(study: Study, arm: Arm, seed: int, *, out: Path) -> RunResults | None:
    """Read the results of a run; None if it was not started.

    Raises:
        DataError: a file is damaged; names it.
    """
    folder = run_folder(out, arm, seed)
    if not (folder / "run.json").exists():
        return None
    run = read_run(folder)
    iterations = [run.iteration(number) for number in range(arm.recipe.iterations + 1)]
    seconds: dict[str, float] = {}
    for step, counts in ((step, counts) for one in iterations for step, counts in one.steps().items()):
        seconds[step] = seconds.get(step, 0.0) + counts["seconds"]
    return RunResults(
        arm=arm.name,
        seed=seed,
        evaluations={one.number: _evaluation(one) for one in iterations if "evaluation" in one.steps()},
        pairs={one.number: read_pairs(one) for one in iterations if "data" in one.steps()},
        differing=_differing(study, arm, seed, run, out),
        seconds=seconds,
        made_with=_made_with(folder),
        measured_on=run.recipe.evaluation.describe_prompts(),
    )


def _evaluation(iteration: Iteration) -> Evaluation:
    folder = iteration.file("evaluation")
    searched = folder / "searched.jsonl"
    return Evaluation(
        drafts=_by_id(folder / "drafts.jsonl", "strict", "loose", "text"),
        judged=_by_id(folder / "judged.jsonl", "good", "accepted", "value"),
        searched=_by_id(searched, "strict", "loose", "text") if searched.exists() else {},
    )


def _by_id(path: Path, *needs: str) -> dict[str, Row]:
    return {str(row["id"]): row for row in read_rows(path, needs=("id", *needs))}


def _made_with(folder: Path) -> str:
    manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    code = manifest["code"]
    commit = f"commit {code[:12]}{'+' if code.endswith('+') else ''}" if code else "no checkout"
    return f"{commit}, {versions}"


def _differing(study: Study, arm: Arm, seed: int, run: Run, out: Path) -> list[str]:
    """Compare the recipes, ignoring keys that do not affect the results."""
    try:
        ours = recipe_for(study, arm, seed, out=out)
    except ConfigError:
        # The caps of its pairs are not known yet, so only the rest is compared.
        ours = arm.recipe.model_copy(update={"seed": seed, "actor_data": run.recipe.actor_data})
    ignored = {"name", "in_flight", "paper", "resources", "serving", "iterations"}
    used = dict(_flatten(run.recipe.model_dump(mode="json", exclude=ignored)))
    return [
        f"{run.folder.name} was run with {key}: {used.get(key)}, the study says {value}"
        for key, value in _flatten(ours.model_dump(mode="json", exclude=ignored))
        if used.get(key) != value
    ]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The results of the runs that were started, in the study's order."""

    study: Study
    runs: Sequence[RunResults]

    def of(self, arm: str) -> list[RunResults]:
        return [run for run in self.runs if run.arm == arm]

    def at(self, arm: str, iteration: int) -> dict[int, Evaluation]:
        """Return the evaluations after an iteration by seed, as far as they were measured."""
        return {run.seed: run.evaluations[iteration] for run in self.of(arm) if iteration in run.evaluations}

    def pairs(self, arm: str, iteration: int) -> dict[int, Sequence[PreferencePair]]:
        """Return the actor's training pairs by seed, as far as they were collected."""
        return {run.seed: run.pairs[iteration] for run in self.of(arm) if iteration in run.pairs}

    def iterations(self, arm: str) -> list[int]:
        """Return the iterations that were measured with any seed."""
        return sorted({number for run in self.of(arm) for number in run.evaluations})

    def seconds(self, arm: str) -> Mapping[str, float]:
        """Return the seconds by step, summed over the seeds."""
        total: dict[str, float] = {}
        for step, seconds in ((step, seconds) for run in self.of(arm) for step, seconds in run.seconds.items()):
            total[step] = total.get(step, 0.0) + seconds
        return total

    def missing(self) -> list[str]:
        """Return a line for each part of the study that has not been measured."""
        return [line for arm in self.study.arms for line in self._missing(arm)]

    def _missing(self, arm: Arm) -> list[str]:
        runs = {run.seed: run for run in self.of(arm.name)}
        lacking = {"not started": [seed for seed in self.study.seeds if seed not in runs]}
        for number in range(arm.recipe.iterations + 1):
            lacking[f"iteration {number} is not finished"] = [
                seed for seed, run in runs.items() if number not in run.evaluations
            ]
        return [f"{arm.name}, seed {', '.join(map(str, seeds))}: {what}" for what, seeds in lacking.items() if seeds]

    def differing(self) -> list[str]:
        """Return a line for each key in which a run's recipe differs from the study's."""
        return [line for run in self.runs for line in run.differing]


def read_outcomes(study: Study, out: Path) -> Outcomes:
    """Read the results of all runs that were started.

    Raises:
        ConfigError: nothing of the study has been measured under `out`.
        DataError: a file is damaged; names it.
    """
    read = [read_run_results(study, arm, seed, out=out) for arm in study.arms for seed in study.seeds]
    runs = [run for run in read if run]
    if not any(run.evaluations for run in runs):
        raise ConfigError(f"{out}: nothing of the study {study.name} has been measured here; leave out --report-only")
    return Outcomes(study=study, runs=runs)
