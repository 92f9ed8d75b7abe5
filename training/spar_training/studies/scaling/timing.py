"""Wall-clock seconds: a sample of prompts, one search at a time, nothing from a store, engines as a server has them.

A search that a smaller budget would not have cut is the same search under that budget, call for call, so its time
counts for every budget that it did not exhaust; the others are run again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar_core.prompts import Templates
from spar_training.pipeline.runner import Policy, Progress, run_items
from spar_training.storage.files import Row
from spar_training.studies.scaling.analysis import mean
from spar_training.studies.scaling.arms import Arm
from spar_training.studies.scaling.player import Backends, Cell, sample_and_judge, search
from spar_training.world.prompt import Split


@dataclass(frozen=True, slots=True)
class Timed:
    """One item: an arm on the first seed of a prompt, at several budgets."""

    arm: Arm
    cell: Cell
    budgets: tuple[int, ...]

    @property
    def id(self) -> str:
        return f"{self.arm.name}/{self.cell.index}"


def timed(arms: Sequence[Arm], *, split: Split, prompts: int, budgets: Sequence[int]) -> list[Timed]:
    """The items of a sample: the first `prompts` prompts. Prompt by prompt, so that a slow minute slows all arms."""
    return [
        Timed(arm, Cell(split, index, 0), _of(arm, budgets))
        for index in range(prompts)
        for arm in arms
        if arm.consensus == "none"
    ]


def _of(arm: Arm, budgets: Sequence[int]) -> tuple[int, ...]:
    if arm.group == "ablation":
        return (arm.search.budget,)
    return tuple(sorted({min(budget, arm.search.budget) for budget in budgets}))


@dataclass(frozen=True, slots=True)
class Times:
    """Mean seconds of an answer by arm and budget, and the machine's mean load (processes that want a core)."""

    seconds: dict[str, dict[int, float]]
    load: float

    @classmethod
    def read(cls, rows: Sequence[Row]) -> Times:
        seconds: dict[str, dict[int, list[float]]] = {}
        for row in rows:
            arm = seconds.setdefault(str(row["id"]).rsplit("/", 1)[0], {})
            for budget, value in row["seconds"].items():
                arm.setdefault(int(budget), []).append(value)
        means = {arm: {budget: mean(values) for budget, values in by.items()} for arm, by in seconds.items()}
        return cls(means, mean([row["load"] for row in rows]))


async def time_all(
    models: Backends,
    templates: Templates,
    items: Sequence[Timed],
    *,
    out: Path,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> list[Row]:
    """Time all items, one after the other; kept in `out`.

    Raises:
        BackendUnavailable: the models do not answer.
        DataError: a file cannot be written or read.
    """

    async def work(item: Timed) -> dict[str, Any]:
        return {"seconds": await _seconds(item, models, templates), "load": os.getloadavg()[0]}

    # The first calls of an engine pay for what every later one finds ready; a search calls both engines.
    first = next((item for item in items if not item.arm.greedy), items[0])
    await _seconds(replace(first, budgets=first.budgets[-1:]), models, templates)
    return await run_items(items, work, out=out, policy=Policy(in_flight=1), on_progress=tell)


async def _seconds(item: Timed, models: Backends, templates: Templates) -> dict[str, float]:
    """Seconds by budget, from the largest down; a budget that cuts the search is run, others share its time."""
    seconds: dict[str, float] = {}
    known: float | None = None
    nodes = 0
    for budget in sorted(item.budgets, reverse=True):
        if known is None or nodes > budget or budget == 0:
            arm = replace(item.arm, search=replace(item.arm.search, budget=budget))
            known, nodes = await _once(arm, item.cell, models, templates)
        seconds[str(budget)] = known
    return seconds


async def _once(arm: Arm, cell: Cell, models: Backends, templates: Templates) -> tuple[float, int]:
    """Seconds of one answer, and the nodes that it took."""
    if arm.judge_all:
        began = time.perf_counter()
        nodes = await sample_and_judge(arm, cell, models, templates)
        return time.perf_counter() - began, len(nodes) - 1
    result = await search(arm, cell, cell.prompt, models, templates)
    return result.duration_s, result.nodes
