"""`spar bench scaling`: run and time the arms, compute the findings, and write the result and its report."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from rich.console import Console

from spar_core.backends.wrappers.cache import CompletionStore
from spar_core.cpu import usable_cores
from spar_core.errors import ConfigError
from spar_core.prompts import load_templates
from spar_training.pipeline.progress import item_progress
from spar_training.reports.page import to_markdown, write_report
from spar_training.reports.result import write_result
from spar_training.storage.files import Row, read_rows, write_text
from spar_training.studies.scaling.analysis import analyze
from spar_training.studies.scaling.arms import DEFAULT_METHOD, METHODS, Arm, ablation_arms, main_arms, oracle_arms
from spar_training.studies.scaling.grid import TEMPLATES, by_arm, fingerprint, grid_items, open_runner, run_grid
from spar_training.studies.scaling.player import Backends
from spar_training.studies.scaling.report import to_report, to_result
from spar_training.studies.scaling.sources import FolderSource, Source, UrlModels
from spar_training.studies.scaling.timing import Times, time_all, timing_items
from spar_training.world.prompt import Split

# Ablations that are timed along with the methods, since they save time.
_TIMED_ABLATIONS: Final = ("stop=first", "votes=5, all asked", "checks=on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options. `timed` is the number of prompts that are timed, one search at a time; 0 for none.

    The models are those of `served`, or else of the folder `pair`, or else the shipped pair. Without `templates`, a
    folder gets those of the small pair, and a served pair the server's default.
    """

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
    served: UrlModels | None = None
    templates: str | None = None

    def validate(self) -> None:
        """Check the options.

        Raises:
            ConfigError: an option is invalid; names it.
        """
        if self.served and self.pair:
            raise ConfigError("--pair and --url: give one of them, to measure either a folder or models by URL")
        if self.served and self.oracles:
            raise ConfigError("--oracles: needs a folder, whose tokenizer counts the oracles' tokens; drop the option")
        if self.split not in get_args(Split):
            raise ConfigError(f"--split {self.split}: choose one of {', '.join(get_args(Split))}")
        if unknown := [method for method in self.methods if method not in METHODS]:
            raise ConfigError(f"--methods {unknown[0]}: choose from {', '.join(METHODS)}")
        if not self.budgets or min(self.budgets) < 0:
            raise ConfigError("--budgets: give whole numbers of at least 0, for example 0,1,2,4,8")

    @property
    def template_set(self) -> str:
        return self.templates or ("default" if self.served else TEMPLATES)

    @property
    def arms(self) -> list[Arm]:
        largest = max(self.budgets)
        arms = main_arms(self.methods, budget=largest, best_of=self.best_of, best_of_all=self.best_of_all)
        arms += oracle_arms(budget=largest) if self.oracles else []
        return arms + (ablation_arms(deep=largest) if self.ablations and DEFAULT_METHOD in self.methods else [])


def quick(options: Options) -> Options:
    """Reduce the bench to a minute or two: fewer prompts, one seed, small budgets."""
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
    """Run or resume the bench; `command` is the command line to show in the report.

    Raises:
        ConfigError: an option is invalid, or the folder does not hold a pair.
        DataError: a file cannot be written or read.
    """
    options.validate()
    console = Console()
    source = asyncio.run(options.served.connect()) if options.served else FolderSource(options.pair)
    trials = by_arm(options.arms, asyncio.run(_run_trials(options, source)))
    times = Times.from_rows(asyncio.run(_run_timing(options, source))) if options.timed else None
    console.print("computing intervals")
    findings = analyze(options.arms, trials, times.seconds if times else {}, budgets=options.budgets)
    config = {
        "prompts": options.prompts,
        "split": options.split,
        "seeds": options.seeds,
        "budgets": list(options.budgets),
        "best_of": options.best_of,
        "best_of_all": options.best_of_all,
        "methods": list(options.methods),
        "pair": source.name,
        "templates": options.template_set,
        **source.config,
        "timed_prompts": options.timed,
        "machine": f"{usable_cores()} cores ({platform.machine()})",
        "load": round(times.load, 2) if times else None,
        "command": command,
    }
    result = to_result(findings, options.arms, trials, config=config, models=source.lineage, budgets=options.budgets)
    report = to_report(findings, config)
    write_result(options.out / "result.json", result)
    write_report(report, options.out, "report")
    if options.docs:
        write_text(options.docs / "scaling.md", to_markdown(report, options.docs / "img"))
    console.print(report.summary, markup=False)
    console.print(f"{options.out / 'result.json'}, {options.out / 'report.html'}", soft_wrap=True, markup=False)


async def _run_trials(options: Options, source: Source) -> list[Row]:
    """Run every arm on every prompt and seed, unless that was done before."""
    split: Any = options.split
    items = grid_items(options.arms, split=split, prompts=options.prompts, seeds=options.seeds)
    name = fingerprint(
        options.arms, split=split, prompts=options.prompts, seeds=options.seeds, **_model_fields(options, source)
    )
    out = options.out / f"trials-{name}.jsonl"
    if out.exists():
        return list(read_rows(out, needs=("id",)))
    templates = load_templates(options.template_set)
    with CompletionStore(options.out / "completions.sqlite") as store, item_progress("searches") as on_progress:
        async with (
            source.open(searches=len(items)) as pair,
            open_runner(pair, store, templates=templates, split=split, prompts=options.prompts) as runner,
        ):
            return await run_grid(runner, items, out=out, on_progress=on_progress)


async def _run_timing(options: Options, source: Source) -> list[Row]:
    """Time the methods on the first prompts, one search at a time, unless that was done before."""
    split: Any = options.split
    arms = [arm for arm in options.arms if arm.group == "main" or arm.name in _TIMED_ABLATIONS]
    items = timing_items(arms, split=split, prompts=min(options.timed, options.prompts), budgets=options.budgets)
    name = fingerprint(
        arms, split=split, prompts=options.timed, budgets=options.budgets, **_model_fields(options, source)
    )
    out = options.out / f"seconds-{name}.jsonl"
    if out.exists():
        return list(read_rows(out, needs=("id",)))
    with item_progress("one at a time") as on_progress:
        async with source.open(searches=None) as pair:
            models = Backends(actor=pair.actor, judge=pair.refiner, refiner=pair.refiner)
            templates = load_templates(options.template_set)
            return await time_all(models, templates, items, out=out, on_progress=on_progress)


def _model_fields(options: Options, source: Source) -> dict[str, object]:
    """Return the part of the fingerprint that identifies the models and templates."""
    fields: dict[str, object] = {"weights": source.identities}
    return fields if options.template_set == TEMPLATES else {**fields, "templates": options.template_set}
