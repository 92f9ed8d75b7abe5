"""`spar train ship`: copy a pair of a run into a self-contained folder, to serve or to publish.

Paths in its lineage are relative to the run's folder, and the lineages of earlier iterations are embedded in its own.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, get_args

from spar_core.errors import ConfigError, DataError
from spar_core.judge import JudgeName
from spar_training.pipeline.stage import Role
from spar_training.reports.page import Table, markdown_table
from spar_training.runs.counts import INTERVALS, figure
from spar_training.runs.folder import Iteration, Run, read_run
from spar_training.runs.lineage import Ancestor, chain_of
from spar_training.storage.files import write_json, write_text
from spar_training.trainers.status import LINEAGE, LOG, PROGRESS

_CARD: Final = """---
{front}
---
# {name}: the {role}

{prose}

Made by {iterations} of self-play (arXiv 2412.11605) from {start}.
Recipe: `{name}`, seed {seed}, run by `spar train run`. Its training data is labelled by
{labels}; verifiers only measured the results.

{measured}- Template set: `{templates}`
- Made with {versions}
- Job and hashes of data and weights of every training: `lineage.json`; figures by step: `training_log.json`
"""
_FIGURES: Final[dict[Role, dict[str, str]]] = {
    "actor": {"draft_prompt_strict": "alone", "searched_prompt_strict": "with search"},
    "refiner": {
        "judge_accuracy": "judgement accuracy",
        "judge_f1_on_bad": "F1 at detecting bad responses",
        "refinement_success": "bad responses fixed by one refinement",
    },
}
_LABELS: Final[dict[JudgeName, str]] = {
    "holistic": "the refiner's own votes",
    "checklist": "a checklist of each prompt, whose requirements code verified where it recognized them",
}
_NOT_SERVED: Final = ("README.md", "*.jsonl", LINEAGE, LOG, PROGRESS)


def ship(folder: Path, out: Path, *, iteration: int | None = None) -> None:
    """Write the pair of an iteration (default: the last) of the run in `folder` to `out`, one folder per model.

    Raises:
        ConfigError: there is no run in the folder, the iteration does not exist or is not finished, or `out` already
            holds a model.
        DataError: a file of the run is damaged.
    """
    run = read_run(folder)
    chosen = run.iteration(iteration or run.recipe.iterations)
    if chosen.number > run.recipe.iterations:
        raise ConfigError(f"--iteration {chosen.number}: {folder} has {run.recipe.iterations} iterations")
    if missing := {"actor", "refiner"} - chosen.steps().keys():
        raise ConfigError(f"{folder}: iteration {chosen.number} has no {min(missing)} yet; finish it: spar train run")
    for role in get_args(Role):
        if (out / role).exists():
            raise ConfigError(f"--out {out}: {role} already exists there; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".ship-", dir=out) as scratch:
        for role in get_args(Role):
            _ship_model(run, role, chosen, Path(scratch) / role)
        for role in get_args(Role):
            (Path(scratch) / role).rename(out / role)
    shutil.copyfile(chosen.file("pair.json"), out / "pair.json")


def _ship_model(run: Run, role: Role, chosen: Iteration, target: Path) -> None:
    chain, iterations = chain_of(chosen.file(role)), chosen.number
    made, start = chain[:iterations], chain[iterations:]
    folders = [ancestor.folder for ancestor in made if ancestor.lineage is not None and ancestor.folder is not None]
    if len(folders) < iterations or not start:
        raise DataError(
            f"{chain[0].name}: its lineage ends at {chain[-1].name}, before {iterations} iterations; a "
            "parent is not where lineage.json says, or has no lineage.json"
        )
    shutil.copytree(folders[0], target, ignore=shutil.ignore_patterns(*_NOT_SERVED))
    lineages = [_inside(run, ancestor.lineage) for ancestor in chain if ancestor.lineage is not None]
    write_json(target / LINEAGE, {**lineages[0], "before": lineages[1:]})
    logs = [json.loads((folder / LOG).read_text(encoding="utf-8")) for folder in reversed(folders)]
    write_json(target / LOG, {f"iteration-{number}": log for number, log in enumerate(logs, start=1)})
    write_text(target / "README.md", _card(run, role, iterations, start[0], lineages[0]))


def _inside(run: Run, lineage: Any) -> dict[str, Any]:
    """The lineage with paths relative to the run's folder or to a package."""
    text = json.dumps(lineage)
    for folder in (run.folder.absolute(), run.folder):
        if folder != Path():
            text = text.replace(f'"{json.dumps(str(folder))[1:-1]}/', '"')
    return dict(json.loads(re.sub(r'"[^"]*/(spar_core|spar_training)/models/', r'"\1/models/', text)))


def _card(run: Run, role: Role, iterations: int, start: Ancestor, lineage: Mapping[str, Any]) -> str:
    recipe = run.recipe
    front, prose = _of_start(start.folder)
    weights = f" (weights {start.sha256[:12]})" if start.sha256 else ""
    return _CARD.format(
        front=front or f"tags: [spar, {role}]",
        name=recipe.name,
        role=role,
        labels=_LABELS[recipe.judge.kind],
        prose=prose or f"A model fine-tuned from {start.name}.",
        iterations=f"{iterations} iteration{'s' if iterations > 1 else ''}",
        seed=recipe.seed,
        start=f"`{_inside(run, {'at': start.name})['at']}`{weights}",
        measured=_measured(run, role, iterations),
        templates=recipe.templates,
        versions=", ".join(f"{name} {version}" for name, version in lineage["versions"].items()),
    )


def _measured(run: Run, role: Role, iterations: int) -> str:
    """The table of figures by iteration; empty if the run measured none."""
    recipe = run.recipe
    measured = [run.iteration(number).steps().get("evaluation", {}) for number in range(iterations + 1)]
    if not any(measured):
        return ""
    search = f"; the search has a budget of {recipe.evaluation.budget}" if role == "actor" else ""
    intervals = " with 95% intervals and the number n of items" if any(INTERVALS in found for found in measured) else ""
    header = ["", "start", *(f"iteration {number}" for number in range(1, iterations + 1))]
    rows = [
        [label, *(figure(found, name) if name in found else "" for found in measured)]
        for name, label in _FIGURES[role].items()
    ]
    return f"""{markdown_table(Table(header, rows))}

Measured on {recipe.evaluation.describe_prompts()}, by verifiers, as shares of 1{intervals};
a prompt counts if all its constraints are met{search}.

"""


def _of_start(folder: Path | None) -> tuple[str, str]:
    """The front matter of the start model's card, and its prose before the list of facts."""
    card = folder / "README.md" if folder else None
    if card is None or not card.is_file():
        return "", ""
    found = re.match(r"---\n(.*?)\n---\n+# [^\n]*\n+(.*?)\n+(?=- |\Z)", card.read_text(encoding="utf-8"), re.DOTALL)
    return (found[1], found[2]) if found else ("", "")
