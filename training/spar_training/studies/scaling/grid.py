"""Play every arm on every cell: bounded, in one pass over the prompts, resumable, with all completions kept."""

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
from spar_training.studies.scaling.oracle import ChatReader, Count, OracleJudge, OracleRefiner
from spar_training.studies.scaling.player import Backends, Cell, Player
from spar_training.studies.scaling.trial import Trial
from spar_training.world.example import draw_example
from spar_training.world.prompt import Split

# Searches at once: enough that the engine's slots are full although most searches wait for one call.
_IN_FLIGHT: Final = 2048
TEMPLATES: Final = "compact"


@dataclass(frozen=True, slots=True)
class Play:
    """One item: an arm on a cell."""

    arm: Arm
    cell: Cell

    @property
    def id(self) -> str:
        return f"{self.arm.name}/{self.cell.seed}/{self.cell.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The backends of a pair; each identity names the weights, for the store. `count` counts the refiner's tokens."""

    actor: Backend
    refiner: Backend
    actor_identity: str
    refiner_identity: str
    count: Count


@asynccontextmanager
async def player(
    pair: Pair, store: CompletionStore, *, templates: Templates, split: Split, prompts: int
) -> AsyncIterator[Player]:
    """A player of the pair, its halves behind the store, and of the pair with perfect halves."""
    actor = CachedBackend(pair.actor, store, identity=pair.actor_identity)
    refiner = CachedBackend(pair.refiner, store, identity=pair.refiner_identity)
    chats = ChatReader(templates, [draw_example(split, index) for index in range(prompts)])
    judging = OracleJudge(refiner, chats, count=pair.count)
    refining = OracleRefiner(refiner, chats, count=pair.count)
    playing = Player(
        models={
            "none": Backends(actor=actor, judge=refiner, refiner=refiner),
            "judge": Backends(actor=actor, judge=judging, refiner=refiner),
            "refiner": Backends(actor=actor, judge=refiner, refiner=refining),
            "both": Backends(actor=actor, judge=judging, refiner=refining),
        },
        live=Backends(actor=actor, judge=pair.refiner, refiner=pair.refiner),
        templates=templates,
    )
    try:
        yield playing
    finally:
        # Before the store is closed: calls may still be under way when a run ends early.
        await actor.aclose()
        await refiner.aclose()


def plays(arms: Sequence[Arm], *, split: Split, prompts: int, seeds: int) -> list[Play]:
    """Every arm on every cell, prompt by prompt: what arms share is then in flight, or fresh in the store, together."""
    return [Play(arm, Cell(split, index, seed)) for index in range(prompts) for seed in range(seeds) for arm in arms]


async def play_all(
    player: Player, items: Sequence[Play], *, out: Path, tell: Callable[[Progress], None] = lambda progress: None
) -> list[Row]:
    """The rows of all items, in their order; kept in `out` when all are done, and beside it until then.

    Raises:
        BackendUnavailable: the models do not answer.
        DataError: a file cannot be written or read.
    """

    async def work(item: Play) -> dict[str, Any]:
        return (await player.play(item.arm, item.cell)).row()

    return await run_items(items, work, out=out, policy=Policy(in_flight=_IN_FLIGHT), on_progress=tell)


def by_arm(arms: Sequence[Arm], rows: Iterable[Row]) -> dict[str, list[Trial]]:
    """The trials of each arm by its name."""
    trials: dict[str, list[Trial]] = {arm.name: [] for arm in arms}
    for row in rows:
        trials[str(row["id"]).rsplit("/", 2)[0]].append(Trial.read(row))
    return trials


def fingerprint(arms: Sequence[Arm], **options: object) -> str:
    """A short name of what is run, so that another run in the same folder has files of its own."""
    asked = {"arms": [asdict(arm) for arm in arms], **options}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:10]
