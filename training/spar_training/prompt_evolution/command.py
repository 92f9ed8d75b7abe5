"""`spar train evolve` and `spar train check-leaks`: evolve prompts, and check prompts for contamination."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.inference.client import check_urls, open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, Progress
from spar_training.prompt_evolution.card import write_card
from spar_training.prompt_evolution.contamination import read_benchmarks, refuse
from spar_training.prompt_evolution.file_formats import placed_rows
from spar_training.prompt_evolution.filters.quality import Removal
from spar_training.prompt_evolution.load import read_turns
from spar_training.prompt_evolution.pipeline import EvolvePipeline
from spar_training.prompt_evolution.request import Evolution, parse_row
from spar_training.prompt_evolution.settings import EvolveSettings
from spar_training.storage.files import Row, write_json, write_rows


def run(
    settings: EvolveSettings,
    *,
    model: str,
    urls: Sequence[str],
    key_env: str,
    in_flight: int,
    answer_s: float | None = None,
) -> None:
    """Evolve the prompts, and print the outcome.

    Raises:
        ConfigError: a setting is invalid, or the folder holds work with other settings.
        DataError: a file cannot be used, or prompts are in a benchmark.
        BackendUnavailable: the model cannot be reached; finished work is saved.
        BackendError: no reply can be used; the next run requests them again.
    """
    check_urls(urls)
    console = Console(stderr=True)
    pipeline = EvolvePipeline(settings, lambda stage: console.print(str(stage), soft_wrap=True, markup=False))
    work = pipeline.prepare()
    rows, name = asyncio.run(_ask(pipeline, work, model, urls, key_env, in_flight, answer_s, console))
    prompts = pipeline.finish(work, rows, name)
    write_card(pipeline, prompts, name)
    file = settings.out / "prompts.jsonl"
    console.print(
        f"{len(prompts):,} prompts are in {file}, described in card.md beside it.", soft_wrap=True, markup=False
    )


async def _ask(
    pipeline: EvolvePipeline,
    work: Sequence[Evolution],
    model: str,
    urls: Sequence[str],
    key_env: str,
    in_flight: int,
    answer_s: float | None,
    console: Console,
) -> tuple[list[Row], str]:
    async with open_backend(model, urls=urls, key_env=key_env, in_flight=in_flight, answer_s=answer_s) as backend:
        with item_progress("evolve", console=console, live=_UsableShare()) as on_progress:
            rows = await pipeline.request(work, backend, Policy(in_flight=in_flight), on_progress)
        return rows, backend.model


class _UsableShare:
    """The share of this run's replies that contain an instruction."""

    def __init__(self) -> None:
        self._read = self._usable = 0

    def __call__(self, progress: Progress) -> str:
        self._read += 1
        if progress.row is not None:
            self._usable += not isinstance(parse_row(progress.row), Removal)
        return f"{self._usable / self._read:.0%} usable"


def check(file: Path, *, benchmarks: Sequence[Path], threshold: float, drop_to: Path | None) -> None:
    """Compare a file's prompts with benchmarks; with `drop_to`, write the rows that are in none to that file.

    Raises:
        ConfigError: the suffix of `drop_to` is not a known format.
        DataError: prompts are in a benchmark and there is no `drop_to`, or a file cannot be used.
    """
    if drop_to is not None and drop_to.suffix not in (".json", ".jsonl"):
        raise ConfigError(f"--drop-to {drop_to}: must end in .json (an array) or .jsonl (one object a line)")
    prompts = read_turns(file)
    items = read_benchmarks(benchmarks)
    found = [items.worst(turns, threshold=threshold) for turns in prompts]
    leaks = [leak for leak in found if leak]
    console = Console()
    if drop_to is None:
        refuse(leaks, len(prompts), fix="--drop-to FILE writes the other rows there")
    else:
        # All rows have been read, and the file is replaced atomically, so it may be the one that is checked.
        rows = [row for (_, row), leak in zip(placed_rows(file), found, strict=True) if leak is None]
        write_json(drop_to, rows) if drop_to.suffix == ".json" else write_rows(drop_to, rows)
        for leak in leaks:
            console.print(str(leak), soft_wrap=True, markup=False)
    console.print(f"{len(leaks)} of {len(prompts):,} prompts are among the {len(items):,} of the benchmarks.")
