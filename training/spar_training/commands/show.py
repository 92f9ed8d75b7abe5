"""`spar train show`: print a run with its figures by iteration, or a model with its lineage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spar_training.runs.counts import counts_line, figure, names_of
from spar_training.runs.folder import Iteration, Run, read_run
from spar_training.runs.lineage import Ancestor, chain_of, changes_of
from spar_training.runs.manifest import read_manifest
from spar_training.runs.recipe import MANIFEST
from spar_training.storage.provenance import data_digest


def show_status(folder: Path, *, console: Console | None = None) -> None:
    """Print the steps of the run in `folder`.

    Raises:
        ConfigError: there is no run in it.
    """
    run = read_run(folder)
    (console or Console()).print(step_table(run))


def step_table(run: Run, *, figures: bool = True) -> Table:
    """One row per step; without `figures`, evaluations show their time only."""
    table = Table(title=f"{run.recipe.name}: {run.recipe.iterations} iterations, in {run.folder}")
    for name in ("iteration", "step", "seconds", "counts"):
        table.add_column(name, justify="right" if name == "seconds" else "left", overflow="fold")
    for number in range(run.recipe.iterations + 1):
        for row in _rows(run.iteration(number), figures):
            table.add_row(*row)
    return table


def _rows(iteration: Iteration, figures: bool) -> Iterator[tuple[str, str, str, str]]:
    for name, counts in iteration.steps().items():
        shown = counts_line(counts) if figures or name != "evaluation" else ""
        yield str(iteration.number), name, f"{counts['seconds']:,.1f}", shown
    for journal in sorted(iteration.folder.glob("*.jsonl.journal")):
        # Complete lines only: the last one may be half written.
        done = journal.read_bytes().count(b"\n")
        yield str(iteration.number), journal.name.removesuffix(".jsonl.journal"), "", f"unfinished, {done:,} items done"


_DIGITS: Final = 12


def show(path: Path, *, check: bool = False, console: Console | None = None) -> None:
    """Print a run, a pair or a model. With `check`, rehash every file of the lineage and report changes.

    Raises:
        ConfigError: the folder holds none of these.
        DataError: a file in it is damaged.
    """
    screen = console or Console()
    if (path / MANIFEST).exists():
        run = read_run(path)
        screen.print(_head(run, read_manifest(path / MANIFEST)), soft_wrap=True)
        screen.print(step_table(run, figures=False))
        if (figures := _figures(run)) is not None:
            screen.print(figures)
        models = _newest_pair(run)
    elif (path / "actor").is_dir() and (path / "refiner").is_dir():
        models = [path / "actor", path / "refiner"]
    else:
        models = [path]
    for model in models:
        screen.print(_descent(chain_of(model), check=check), soft_wrap=True)


def _head(run: Run, manifest: Mapping[str, Any]) -> Text:
    recipe = run.recipe
    lines = [
        f"{recipe.name} in {run.folder}: recipe {_short(data_digest(recipe.fingerprint_fields()))}, seed {recipe.seed}",
        _made_by(manifest),
        *(f"{name}: {_origin(origin)}" for name, origin in manifest.get("start", {}).items()),
    ]
    return Text("\n".join(lines))


def _figures(run: Run) -> Table | None:
    """The figures of each iteration's pair, one column per iteration."""
    steps = {number: run.iteration(number).steps() for number in range(run.recipe.iterations + 1)}
    measured = {number: found["evaluation"] for number, found in steps.items() if "evaluation" in found}
    if not measured:
        return None
    names = names_of(next(iter(measured.values())))
    table = Table(title=run.recipe.evaluation.describe_prompts())
    table.add_column("figure", overflow="fold")
    for number in measured:
        table.add_column(f"iteration {number}" if number else "start", justify="right")
    for name in names:
        table.add_row(name.replace("_", " "), *(figure(found, name) for found in measured.values()))
    return table


def _newest_pair(run: Run) -> list[Path]:
    """The newest finished model of each role."""
    folders = [run.iteration(number).folder for number in range(run.recipe.iterations, 0, -1)]
    newest = (next((f / role for f in folders if (f / role).is_dir()), None) for role in ("actor", "refiner"))
    return [model for model in newest if model is not None]


def _descent(chain: list[Ancestor], *, check: bool) -> Text:
    """A model and, indented below it, its ancestors. Lines are not wrapped."""
    lines = []
    for depth, ancestor in enumerate(chain):
        first, *others = _format_model(ancestor, check)
        lines.append(("    " * (depth - 1) + "└── " if depth else "") + first)
        lines += ["    " * depth + other for other in others]
    return Text("\n".join(lines))


def _format_model(ancestor: Ancestor, check: bool) -> Iterator[str]:
    yield ancestor.name + (f", weights {_short(ancestor.sha256)}" if ancestor.sha256 else "")
    lineage = ancestor.lineage
    if lineage is None:
        yield _start(ancestor)
    else:
        files = ", ".join(
            f"{file['path']} ({file['rows']:,} rows, {_short(file['sha256'])})" for file in lineage["data"]
        )
        left_out = sum(found["rows"] for found in lineage["excluded"].values())
        yield f"by {lineage['kind']} on {files}" + (f", {left_out:,} rows left out" if left_out else "")
        yield f"{lineage['steps']:,} steps, seed {lineage['seed']}, learning rate {lineage['job']['learning_rate']:g}"
        if recipe := lineage.get("recipe"):
            yield (
                f"iteration {recipe['iteration']} of the recipe {recipe['name']} ({_short(recipe['sha256'])}), "
                f"seed {recipe['seed']}"
            )
        yield _made_by(lineage)
    if check:
        yield from list(changes_of(ancestor)) or ["checked: nothing has changed since"]


def _start(ancestor: Ancestor) -> str:
    folder = ancestor.folder
    if folder is None and not ancestor.sha256:
        return "start: a name on Hugging Face, not looked up"
    if folder is None:
        # Shipped adapters name their base as the Hub does, which a relative path can look like.
        is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", ancestor.name)
        return "start: a name on Hugging Face, or a folder that is not here" if is_name else "no longer exists"
    bootstrap = folder / "recipe.json"
    if bootstrap.is_file():
        return f"start: made from scratch by spar train bootstrap ({bootstrap})"
    return "start: not made by a training of this package"


def _made_by(data: Mapping[str, Any]) -> str:
    made_with = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return f"made with {made_with}, code {_short(data['code']) if data['code'] else 'unknown'}"


def _origin(origin: Mapping[str, str]) -> str:
    digest = origin.get("sha256")
    return (origin.get("model") or origin.get("file") or "") + (f" ({_short(digest)})" if digest else "")


def _short(digest: str) -> str:
    """An abbreviated digest, with the `+` of a modified checkout."""
    return digest[:_DIGITS] + ("+" if digest.endswith("+") else "")
