"""`spar bench scaling`: play, time, compute, and write the result and its report."""

from __future__ import annotations

import asyncio
import hashlib
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from rich.console import Console

from spar_core.cores import usable_cores
from spar_core.errors import ConfigError
from spar_core.prompts import load_templates
from spar_core.shipped_pair import shipped_pair
from spar_training.files import Row, read_rows, write_text
from spar_training.progress import item_progress
from spar_training.reports.page import to_markdown, write_report
from spar_training.reports.result import of_folder, write_result
from spar_training.scaling.arm import DEFAULT_METHOD, METHODS, Arm, ablation_arms, main_arms, oracle_arms
from spar_training.scaling.findings import find
from spar_training.scaling.outcome import to_result
from spar_training.scaling.player import Models
from spar_training.scaling.report import to_report
from spar_training.scaling.stage import TEMPLATES, Pair, by_arm, fingerprint, play_all, player, plays
from spar_training.scaling.store import CompletionStore
from spar_training.scaling.timing import Times, time_all, timed
from spar_training.world.prompt import Split

# Timed besides the methods: what each saves is time, too.
_TIMED_ABLATIONS: Final = ("stop=first", "votes=5, all asked", "checks=on")
_SLOTS: Final = 384


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options. `timed` prompts are timed, one search at a time; 0 for none."""

    pair: Path | None
    prompts: int
    seeds: int
    budgets: tuple[int, ...]
    methods: tuple[str, ...]
    best_of: int
    best_of_all: int
    split: str
    timed: int
    oracles: bool
    ablations: bool
    out: Path
    docs: Path | None

    def checked(self) -> Options:
        """The same options.

        Raises:
            ConfigError: one is wrong; names it.
        """
        if self.split not in get_args(Split):
            raise ConfigError(f"--split {self.split}: choose one of {', '.join(get_args(Split))}")
        if unknown := [method for method in self.methods if method not in METHODS]:
            raise ConfigError(f"--methods {unknown[0]}: choose of {', '.join(METHODS)}")
        if not self.budgets or min(self.budgets) < 0:
            raise ConfigError("--budgets: give whole numbers of at least 0, for example 0,1,2,4,8")
        return self

    @property
    def arms(self) -> list[Arm]:
        largest = max(self.budgets)
        arms = main_arms(self.methods, budget=largest, best_of=self.best_of, best_of_all=self.best_of_all)
        arms += oracle_arms(budget=largest) if self.oracles else []
        return arms + (ablation_arms(deep=largest) if self.ablations and DEFAULT_METHOD in self.methods else [])

    @property
    def folder(self) -> Path:
        return self.pair or shipped_pair()


def quick(options: Options) -> Options:
    """The same bench in a minute or two: fewer prompts, one seed, small budgets."""
    return replace(
        options,
        prompts=min(options.prompts, 40),
        seeds=1,
        budgets=tuple(budget for budget in options.budgets if budget <= 8) or (0, 8),
        best_of=min(options.best_of, 16),
        best_of_all=min(options.best_of_all, 8),
        timed=min(options.timed, 4),
    )


def run(options: Options, *, command: str) -> None:
    """Run, or resume, the bench; `command` is how it was called.

    Raises:
        ConfigError: an option is wrong, or there is no pair in the folder.
        DataError: a file cannot be written or read.
    """
    options = options.checked()
    console = Console()
    trials = by_arm(options.arms, asyncio.run(_played(options)))
    times = Times.read(asyncio.run(_timed(options))) if options.timed else None
    console.print("computing intervals")
    findings = find(options.arms, trials, times.seconds if times else {}, budgets=options.budgets)
    config = {
        "prompts": options.prompts,
        "split": options.split,
        "seeds": options.seeds,
        "budgets": list(options.budgets),
        "best_of": options.best_of,
        "best_of_all": options.best_of_all,
        "methods": list(options.methods),
        "pair": str(options.pair or "the shipped pair"),
        "timed_prompts": options.timed,
        "machine": f"{usable_cores()} cores ({platform.machine()})",
        "load": round(times.load, 2) if times else None,
        "command": command,
    }
    lineage = {
        role: {**of_folder(options.folder / role), "weights": weights_digest(options.folder / role)}
        for role in ("actor", "refiner")
    }
    result = to_result(findings, options.arms, trials, config=config, models=lineage, budgets=options.budgets)
    report = to_report(findings, config)
    write_result(options.out / "result.json", result)
    write_report(report, options.out, "report")
    if options.docs:
        write_text(options.docs / "scaling.md", to_markdown(report, options.docs / "img"))
    console.print(report.summary)
    console.print(f"{options.out / 'result.json'}, {options.out / 'report.html'}")


async def _played(options: Options) -> list[Row]:
    """Every arm on every prompt and seed."""
    split: Any = options.split
    digests = _digests(options.folder)
    items = plays(options.arms, split=split, prompts=options.prompts, seeds=options.seeds)
    name = fingerprint(options.arms, split=split, prompts=options.prompts, seeds=options.seeds, weights=digests)
    out = options.out / f"trials-{name}.jsonl"
    if out.exists():
        return list(read_rows(out, needs=("id",)))
    with CompletionStore(options.out / "completions.sqlite") as store, item_progress("searches") as tell:
        async with (
            _opened(options.folder, digests, slots=min(_SLOTS, 4 * len(items))) as pair,
            player(pair, store, templates=load_templates(TEMPLATES), split=split, prompts=options.prompts) as playing,
        ):
            return await play_all(playing, items, out=out, tell=tell)


async def _timed(options: Options) -> list[Row]:
    """The methods on the first prompts, one search at a time."""
    split: Any = options.split
    digests = _digests(options.folder)
    arms = [arm for arm in options.arms if arm.group == "main" or arm.name in _TIMED_ABLATIONS]
    items = timed(arms, split=split, prompts=min(options.timed, options.prompts), budgets=options.budgets)
    name = fingerprint(arms, split=split, prompts=options.timed, budgets=options.budgets, weights=digests)
    out = options.out / f"seconds-{name}.jsonl"
    if out.exists():
        return list(read_rows(out, needs=("id",)))
    with item_progress("one at a time") as tell:
        async with _opened(options.folder, digests, slots=None) as pair:
            models = Models(actor=pair.actor, judge=pair.refiner, refiner=pair.refiner)
            return await time_all(models, load_templates(TEMPLATES), items, out=out, tell=tell)


def _digests(folder: Path) -> list[str]:
    return [weights_digest(folder / role) for role in ("actor", "refiner")]


@asynccontextmanager
async def _opened(folder: Path, digests: Sequence[str], *, slots: int | None) -> AsyncIterator[Pair]:
    """The pair by the embedded engine: with `slots`, as wide as the machine is fast; without, as a server has it."""
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from spar_core.backends.local import LocalBackend, LocalEngine

    disable_progress_bar()
    wide: dict[str, Any] = {"max_slots": slots, "threads": usable_cores()} if slots else {}
    tokenizer = AutoTokenizer.from_pretrained(folder / "refiner")
    actor = LocalBackend(LocalEngine(folder / "actor", **wide), "actor")
    refiner = LocalBackend(LocalEngine(folder / "refiner", **wide), "refiner")
    try:
        yield Pair(
            actor=actor,
            refiner=refiner,
            actor_identity=digests[0],
            refiner_identity=digests[1],
            # And the token that ends it.
            count=lambda text: len(tokenizer.encode(text)) + 1,
        )
    finally:
        await actor.aclose()
        await refiner.aclose()


def weights_digest(folder: Path) -> str:
    """A digest of a model's weights and tokenizer: what its completions are a function of.

    Raises:
        ConfigError: there is no model in the folder.
    """
    shards = sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), *folder.glob("*.jinja")])
    if not any(shard.suffix == ".safetensors" for shard in shards):
        raise ConfigError(f"{folder}: no model here; --pair takes a folder with actor/ and refiner/")
    digest = hashlib.sha256()
    for shard in shards:
        with shard.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
