"""`spar train status`: how far a run is, step by step, with what each counted and took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spar_training.runs import Iteration, Run, read_run


def show(folder: Path, *, console: Console | None = None) -> None:
    """Print the run in `folder`.

    Raises:
        ConfigError: there is no run in it.
    """
    run = read_run(folder)
    (console or Console()).print(step_table(run))


def step_table(run: Run, *, figures: bool = True) -> Table:
    """A row a step; without `figures` the evaluation's have their time alone."""
    table = Table(title=f"{run.recipe.name}: {run.recipe.iterations} iterations, in {run.folder}")
    for name in ("iteration", "step", "seconds", "counted"):
        table.add_column(name, justify="right" if name == "seconds" else "left", overflow="fold")
    for number in range(run.recipe.iterations + 1):
        for row in _rows(run.iteration(number), figures):
            table.add_row(*row)
    return table


def _rows(iteration: Iteration, figures: bool) -> Iterator[tuple[str, str, str, str]]:
    for name, counts in iteration.steps().items():
        told = _told(counts) if figures or name != "evaluation" else ""
        yield str(iteration.number), name, f"{counts['seconds']:,.1f}", told
    for journal in sorted(iteration.folder.glob("*.jsonl.journal")):
        # Whole lines: the last one may be half written.
        done = journal.read_bytes().count(b"\n")
        yield str(iteration.number), journal.name.removesuffix(".jsonl.journal"), "", f"unfinished, {done:,} items done"


def _told(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {figure(value)}" for name, value in counts.items() if name != "seconds")


def figure(value: Any) -> str:
    """A count or a share; a dash where it is not known, or where there was nothing to measure."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
