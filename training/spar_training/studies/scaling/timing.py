"""Wall-clock seconds on a sample of prompts: one search at a time, without cached completions, as in the server.

A search that did not exhaust a smaller budget makes the same calls under that budget, so its time counts for every
budget that it did not exhaust; the others are run separately.
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
class TimingItem:
    """An arm on a prompt with the first seed, to be timed at several budgets."""

    arm: Arm
    cell: Cell
    budgets: tuple[int, ...]

    @property
    def id(self) -> str:
        return f"{self.arm.name}/{self.cell.index}"


def timing_items(arms: Sequence[Arm], *, split: Split, prompts: int, budgets: Sequence[int]) -> list[TimingItem]:
    """List the items for the first `prompts` prompts, prompt by prompt, so that a slow period slows all arms."""
    return [
        TimingItem(arm, Cell(split, index, 0), _arm_budgets(arm, budgets))
        for index in range(prompts)
        for arm in arms
        if arm.consensus == "none"
    ]


def _arm_budgets(arm: Arm, budgets: Sequence[int]) -> tuple[int, ...]:
    if arm.group == "ablation":
        return (arm.search.budget,)
    return tuple(sorted({min(budget, arm.search.budget) for budget in budgets}))


@dataclass(frozen=True, slots=True)
class Times:
    """Mean seconds per answer by arm and budget, and the machine's mean load average."""

    seconds: dict[str, dict[int, float]]
    load: float

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> Times:
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
    items: Sequence[TimingItem],
    *,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Row]:
    """Time all items one after the other, and write their rows to `out`.

    Raises:
        BackendUnavailable: the models do not answer.
        DataError: a file cannot be written or read.
    """

    async def work(item: TimingItem) -> dict[str, Any]:
        return {"seconds": await _seconds(item, models, templates), "load": os.getloadavg()[0]}

    # Warm up both engines, whose first calls are slower.
    first = next((item for item in items if not item.arm.greedy), items[0])
    await _seconds(replace(first, budgets=first.budgets[-1:]), models, templates)
    return await run_items(items, work, out=out, policy=Policy(in_flight=1), on_progress=on_progress)


async def _seconds(item: TimingItem, models: Backends, templates: Templates) -> dict[str, float]:
    """Return the seconds by budget, from the largest down; only budgets that shorten the search are run separately."""
    seconds: dict[str, float] = {}
    known: float | None = None
    nodes = 0
    for budget in sorted(item.budgets, reverse=True):
        if known is None or nodes > budget or budget == 0:
            arm = replace(item.arm, search=replace(item.arm.search, budget=budget))
            known, nodes = await _time_once(arm, item.cell, models, templates)
        seconds[str(budget)] = known
    return seconds


async def _time_once(arm: Arm, cell: Cell, models: Backends, templates: Templates) -> tuple[float, int]:
    """Return the seconds of one answer, and its number of nodes."""
    if arm.judge_all:
        start = time.perf_counter()
        nodes = await sample_and_judge(arm, cell, models, templates)
        return time.perf_counter() - start, len(nodes) - 1
    result = await search(arm, cell, cell.prompt, models, templates)
    return result.duration_s, result.nodes
