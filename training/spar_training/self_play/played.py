"""One run of a study as its folder has it: what has been measured, what not, and by which recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_core.errors import ConfigError
from spar_training.files import Row, read_rows
from spar_training.runs import Iteration, Run, read_run
from spar_training.self_play.playing import wanted
from spar_training.self_play.preference import PairRow, read_pairs
from spar_training.self_play.study import Arm, Study, folder_of

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
        measured_on=run.recipe.evaluation.told(),
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
