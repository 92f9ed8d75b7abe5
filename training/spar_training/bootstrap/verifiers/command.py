"""`spar train bootstrap --base MODEL`: train a pair from a base model and print its validation figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from spar_core.backends.base import Backend
from spar_core.errors import ConfigError
from spar_training.bootstrap.verifiers.base import base_folder, is_base
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe, load_verifier_recipe
from spar_training.bootstrap.verifiers.run import VerifierBootstrap
from spar_training.bootstrap.verifiers.ship import ship_adapters
from spar_training.inference.client import open_backend
from spar_training.prompt_evolution.contamination import read_benchmarks
from spar_training.prompt_evolution.file_formats import data_files
from spar_training.prompt_evolution.load import read_prompts
from spar_training.reports.intervals import Interval

_LABELS: Final = {
    "answers": "answers that meet every constraint",
    "constraints": "constraints met",
    "judge_balanced": "judge accuracy, balanced",
    "judge_on_good": "judge accuracy on good answers",
    "judge_on_bad": "judge accuracy on bad answers",
    "verdicts_read": "votes with a readable verdict",
    "refined": "bad answers fixed by one refinement",
    "searched": "answers after search that meet every constraint",
    "search_gain": "gain of the search",
}


def run(
    *,
    base: str,
    recipe: str,
    out: Path,
    seeds: Sequence[Path],
    against: Sequence[Path],
    ship: Path | None,
    threads: int | None,
) -> None:
    """Run the steps that `out` does not have yet, print the validation figures, and write the adapters to `ship`.

    Raises:
        ConfigError: the recipe, the base or a key of a training is wrong, or the recipe would ship it as another base.
        DataError: a file cannot be used.
        BackendUnavailable: a model cannot be sampled; finished work is kept.
        TrainingError: a training ended without a model.
    """
    chosen = load_verifier_recipe(recipe)
    if ship is not None and not is_base(base, chosen.publication.base):
        raise ConfigError(
            f"--ship: the recipe {chosen.name} publishes adapters over {chosen.publication.base}, --base is {base}; "
            "copy the recipe and set its publication (name, base, license)"
        )
    # Errors in these are found before the base is downloaded and sampled.
    files = [file for path in seeds for file in (data_files(path) if path.is_dir() else [path])]
    read_prompts(files)
    benchmarks = read_benchmarks(against) if against else None
    console = Console(stderr=True)
    bootstrap = VerifierBootstrap(
        recipe=chosen,
        base=base_folder(base, out / "base"),
        folder=out,
        seeds=files,
        benchmarks=benchmarks,
        open_model=lambda model: _opened(model, chosen, threads),
        print_line=lambda line: console.print(line, soft_wrap=True, markup=False),
        threads=threads,
    )
    figures = asyncio.run(bootstrap.run())
    _show(figures, chosen, out)
    if ship is not None:
        ship_adapters(out, chosen, ship)
        console.print(f"The adapters are in {ship}.", soft_wrap=True, markup=False)


@asynccontextmanager
async def _opened(model: Path, recipe: VerifierRecipe, threads: int | None) -> AsyncIterator[Backend]:
    async with open_backend(str(model), in_flight=recipe.in_flight, threads=threads) as backend:
        yield backend


def _show(figures: dict[str, dict[str, Interval]], recipe: VerifierRecipe, out: Path) -> None:
    table = Table("", *figures)
    for key, label in _LABELS.items():
        found = [figures[column].get(key) for column in figures]
        if any(one is not None and one.n for one in found):
            table.add_row(label, *(str(one) if one is not None and one.n else "" for one in found))
    console = Console()
    console.print(table)
    console.print(
        f"On validation prompts, in percent with 95% intervals; search budget {recipe.validation.budget}. "
        f"Serve the pair with: spar serve --pair {out}",
        soft_wrap=True,
        markup=False,
    )
