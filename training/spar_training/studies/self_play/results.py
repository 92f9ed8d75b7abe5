"""One run of a study as its folder has it: what has been measured, what not, and by which recipe."""

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
from spar_training.studies.self_play.runner import wanted
from spar_training.studies.self_play.study import Arm, Study, folder_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair. `chosen_right` and `rejected_wrong` are None where the prompt has no checks."""

    prompt: str
    similarity: float
    chosen_words: int
    rejected_words: int
    chosen_right: bool | None
    rejected_wrong: bool | None


def read_pairs(iteration: Iteration) -> list[PairRow]:
    """The pairs of an iteration whose data step is finished.

    Raises:
        DataError: a file is missing or damaged; names it.
    """
    verifiers = {prompt.id: prompt.verifiers() for prompt in read_prompts(iteration.file("prompts.jsonl"))}
    rows = read_rows(iteration.file("dpo.jsonl"), needs=("id", "chosen", "rejected", "provenance"))
    return [_pair(row, verifiers.get(str(row["id"]), ())) for row in rows]


def _pair(row: Row, checks: tuple[Check, ...]) -> PairRow:
    chosen, rejected = (str(row[side][-1]["content"]) for side in ("chosen", "rejected"))
    return PairRow(
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
class PairsMade:
    """The pairs of an iteration, of all its seeds: means with intervals, lengths in words.

    `counts` is how many each seed has. `both` is the share whose chosen side is right and whose rejected one is wrong.
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


def pairs_made(arm: str, iteration: int, by_seed: Mapping[int, Sequence[PairRow]]) -> PairsMade:
    """Of an iteration that has at least one pair. Seeds have prompts of their own, so each pair stands for itself."""
    pairs = [pair for rows in by_seed.values() for pair in rows]
    told = [pair for pair in pairs if pair.chosen_right is not None and pair.rejected_wrong is not None]
    return PairsMade(
        arm=arm,
        iteration=iteration,
        counts={seed: len(rows) for seed, rows in by_seed.items()},
        similarity=interval([pair.similarity for pair in pairs]),
        chosen_right=interval([float(bool(pair.chosen_right)) for pair in told]),
        rejected_wrong=interval([float(bool(pair.rejected_wrong)) for pair in told]),
        both=interval([float(bool(pair.chosen_right and pair.rejected_wrong)) for pair in told]),
        chosen_words=mean(pair.chosen_words for pair in pairs),
        rejected_words=mean(pair.rejected_words for pair in pairs),
    )


Rows = Mapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One pair's evaluation, rows by prompt. `searched` is empty where the search was not measured."""

    drafts: Rows
    judged: Rows
    searched: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """`evaluations` and `pairs` are by iteration; what is not finished is not there.

    `differing` are sentences: where the recipe is not the study's. `seconds` are by step, of all iterations.
    """

    arm: str
    seed: int
    evaluations: Mapping[int, Evaluation]
    pairs: Mapping[int, Sequence[PairRow]]
    differing: Sequence[str]
    seconds: Mapping[str, float]
    made_with: str
    measured_on: str


def read_played(study: Study, arm: Arm, seed: int, *, out: Path) -> Played | None:
    """None where no run was begun.

    Raises:
        DataError: a file is damaged; names it.
    """
    folder = folder_of(out, arm, seed)
    if not (folder / "run.json").exists():
        return None
    run = read_run(folder)
    iterations = [run.iteration(number) for number in range(arm.recipe.iterations + 1)]
    seconds: dict[str, float] = {}
    for step, counts in ((step, counts) for one in iterations for step, counts in one.steps().items()):
        seconds[step] = seconds.get(step, 0.0) + counts["seconds"]
    return Played(
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
        judged=_by_id(folder / "judged.jsonl", "good", "accepted"),
        searched=_by_id(searched, "strict", "loose", "text") if searched.exists() else {},
    )


def _by_id(path: Path, *needs: str) -> dict[str, Row]:
    return {str(row["id"]): row for row in read_rows(path, needs=("id", *needs))}


def _made_with(folder: Path) -> str:
    begun = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in begun["versions"].items())
    code = begun["code"]
    shown = f"commit {code[:12]}{'+' if code.endswith('+') else ''}" if code else "no checkout"
    return f"{shown}, {versions}"


def _differing(study: Study, arm: Arm, seed: int, run: Run, out: Path) -> list[str]:
    """Only what changes something that is made."""
    try:
        ours = wanted(study, arm, seed, out=out)
    except ConfigError:
        # Its caps are not known yet, so the rest is compared.
        ours = arm.recipe.model_copy(update={"seed": seed, "actor_data": run.recipe.actor_data})
    ignored = {"name", "in_flight", "paper", "resources", "serving", "iterations"}
    told = dict(_flat(run.recipe.model_dump(mode="json", exclude=ignored)))
    return [
        f"{run.folder.name} was run with {key}: {told.get(key)}, the study says {value}"
        for key, value in _flat(ours.model_dump(mode="json", exclude=ignored))
        if told.get(key) != value
    ]


def _flat(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value


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
