"""Run every arm on every cell in one resumable pass over the prompts, with all completions cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.cache import CachedBackend, CompletionStore
from spar_core.prompts import Templates
from spar_training.pipeline.runner import Policy, Progress, run_items
from spar_training.storage.files import Row
from spar_training.studies.scaling.arms import Arm
from spar_training.studies.scaling.oracle import ChatReader, OracleJudge, OracleRefiner, TokenCounter
from spar_training.studies.scaling.player import Backends, Cell, TrialRunner
from spar_training.studies.scaling.trial import Trial
from spar_training.world.example import draw_example
from spar_training.world.prompt import Split

# Concurrent searches: enough to fill the engine's slots, although most searches wait for a single call.
_IN_FLIGHT: Final = 2048
TEMPLATES: Final = "compact"


@dataclass(frozen=True, slots=True)
class GridItem:
    """An item of the grid: an arm on a cell."""

    arm: Arm
    cell: Cell

    @property
    def id(self) -> str:
        return f"{self.arm.name}/{self.cell.seed}/{self.cell.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBackends:
    """The backends of a model pair.

    The identities name the weights in the completion store. `count` counts tokens with the refiner's tokenizer.
    """

    actor: Backend
    refiner: Backend
    actor_identity: str
    refiner_identity: str
    count: TokenCounter


@asynccontextmanager
async def open_runner(
    pair: PairBackends, store: CompletionStore, *, templates: Templates, split: Split, prompts: int
) -> AsyncIterator[TrialRunner]:
    """Open a runner for the pair, with cached completions, and for the pair with oracles in place of its models."""
    actor = CachedBackend(pair.actor, store, identity=pair.actor_identity)
    refiner = CachedBackend(pair.refiner, store, identity=pair.refiner_identity)
    chats = ChatReader(templates, [draw_example(split, index) for index in range(prompts)])
    oracle_judge = OracleJudge(refiner, chats, count=pair.count)
    oracle_refiner = OracleRefiner(refiner, chats, count=pair.count)
    runner = TrialRunner(
        models={
            "none": Backends(actor=actor, judge=refiner, refiner=refiner),
            "judge": Backends(actor=actor, judge=oracle_judge, refiner=refiner),
            "refiner": Backends(actor=actor, judge=refiner, refiner=oracle_refiner),
            "both": Backends(actor=actor, judge=oracle_judge, refiner=oracle_refiner),
        },
        live=Backends(actor=actor, judge=pair.refiner, refiner=pair.refiner),
        templates=templates,
    )
    try:
        yield runner
    finally:
        # Before the store is closed, since calls may still be in progress when a run ends early.
        await actor.aclose()
        await refiner.aclose()


def grid_items(arms: Sequence[Arm], *, split: Split, prompts: int, seeds: int) -> list[GridItem]:
    """List every arm on every cell, prompt by prompt, so that calls that arms share are made close together."""
    return [
        GridItem(arm, Cell(split, index, seed)) for index in range(prompts) for seed in range(seeds) for arm in arms
    ]


async def run_grid(
    runner: TrialRunner,
    items: Sequence[GridItem],
    *,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Row]:
    """Run all items and return their rows in order; they are written to `out` when all are done, see `run_items`.

    Raises:
        BackendUnavailable: the models do not answer.
        DataError: a file cannot be written or read.
    """

    async def work(item: GridItem) -> dict[str, Any]:
        return (await runner.run(item.arm, item.cell)).row()

    return await run_items(items, work, out=out, policy=Policy(in_flight=_IN_FLIGHT), on_progress=on_progress)


def by_arm(arms: Sequence[Arm], rows: Iterable[Row]) -> dict[str, list[Trial]]:
    """Group the trials by the name of their arm."""
    trials: dict[str, list[Trial]] = {arm.name: [] for arm in arms}
    for row in rows:
        trials[str(row["id"]).rsplit("/", 2)[0]].append(Trial.from_row(row))
    return trials


def fingerprint(arms: Sequence[Arm], **options: object) -> str:
    """Return a short digest of what is run, so that other runs in the same folder have their own files."""
    fields = {"arms": [asdict(arm) for arm in arms], **options}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()[:10]
