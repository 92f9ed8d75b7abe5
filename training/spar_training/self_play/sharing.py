"""What runs with the same beginning have in common is made once.

A run that has not got so far takes over from another one: the start pair's evaluation, and the first iteration's
prompts, samples and judgements, which do not depend on what is done with them. `shared.json` in each iteration's folder
tells where they came from; the time that they took stays with the run that spent it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from spar_training.evals.pair import figures
from spar_training.files import write_json
from spar_training.items import failed_file
from spar_training.recipe import Recipe
from spar_training.runs import Iteration, Run

_FIRST_STEPS = {"prompts": "prompts.jsonl", "sample": "samples.jsonl", "judge": "judgements.jsonl"}


def share(donor: Run, run: Run) -> list[str]:
    """Take over from `donor` what is the same in `run` and not there yet; the names of what was taken."""
    taken = _share_evaluation(donor, run) if _same_start(donor.recipe, run.recipe) else []
    if _same_beginning(donor.recipe, run.recipe):
        taken += _share_first_steps(donor.iteration(1), run.iteration(1))
    return taken


def _same_start(one: Recipe, other: Recipe) -> bool:
    """Whether the start pair's drafts and their judgements in the evaluation are the same."""
    keys = ("start", "seed", "templates")
    measured = ("benchmark", "split", "prompts", "judged")
    return all(getattr(one, key) == getattr(other, key) for key in keys) and all(
        getattr(one.evaluation, key) == getattr(other.evaluation, key) for key in measured
    )


def _same_beginning(one: Recipe, other: Recipe) -> bool:
    keys = ("start", "seed", "templates", "prompts", "sample", "judge")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _share_evaluation(donor: Run, run: Run) -> list[str]:
    ours, theirs = run.iteration(0), donor.iteration(0)
    if "evaluation" in ours.steps() or "evaluation" not in theirs.steps():
        return []
    budget = run.recipe.evaluation.budget
    searched = budget > 0 and budget == donor.recipe.evaluation.budget
    names = [f"evaluation/{name}.jsonl" for name in ("drafts", "judged", *(["searched"] if searched else []))]
    _take(theirs, ours, names)
    if searched or budget == 0:
        write_json(
            ours.file("steps.json"),
            {**ours.steps(), "evaluation": {"seconds": 0.0, **figures(ours.file("evaluation"))}},
        )
    return names


def _share_first_steps(theirs: Iteration, ours: Iteration) -> list[str]:
    if ours.steps() or not _FIRST_STEPS.keys() <= theirs.steps().keys():
        return []
    names = list(_FIRST_STEPS.values())
    _take(theirs, ours, names)
    steps = {name: {**theirs.steps()[name], "seconds": 0.0} for name in _FIRST_STEPS}
    write_json(ours.file("steps.json"), steps)
    return names


def _take(theirs: Iteration, ours: Iteration, names: Sequence[str]) -> None:
    """Link or copy the files, with what was set aside; a half-done piece of the same work is no longer needed."""
    for name in names:
        for part in (failed_file(Path(name)), Path(name)):
            if (source := theirs.folder / part).exists():
                _link(source, ours.folder / part)
        ours.file(f"{name}.journal").unlink(missing_ok=True)
    write_json(ours.file("shared.json"), {"from": str(theirs.folder), "files": list(names)})


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        # Files are replaced, never changed, so two names for one are safe.
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    os.replace(scratch, place)
