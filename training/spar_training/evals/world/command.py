"""`spar eval world`: run the evaluation, print its table, and write its result."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.progress import track
from rich.table import Table

from spar_core.errors import ConfigError
from spar_core.model_folder import TINY_PAIR, PairFolder, load_folder, named_folder
from spar_core.prompts import load_templates
from spar_training.evals.world.evaluation import Figures, Outcome, WorldEval, figures
from spar_training.inference.client import open_backend
from spar_training.reports.intervals import Interval
from spar_training.reports.result import Result, model_lineage, write_result
from spar_training.storage.files import Row
from spar_training.world.prompt import Split

_ROWS = {
    "judge_balanced": "judge (5 votes) agrees with the verifiers, balanced",
    "judge_on_good": "  on good answers",
    "judge_on_bad": "  on bad answers",
    "parse_failures": "votes without a verdict",
    "refinement_success": "bad answers judged No that one refinement fixes",
    "greedy_strict": "budget 0, temperature 0: all constraints met, strict",
    "draft_strict": "budget 0: all constraints met, strict",
    "draft_loose": "budget 0: all constraints met, loose",
    "searched_strict": "with the budget: all constraints met, strict",
    "searched_loose": "with the budget: all constraints met, loose",
    "gain_strict": "gain over budget 0, strict, paired",
    "gain_over_greedy": "gain over temperature 0, strict, paired",
}


def run(*, prompts: int, budget: int, seed: int, pair: Path | None, split: str, out: Path | None) -> None:
    """Evaluate a pair, by its folder or the name of a shipped one, and print the figures.

    Raises:
        ConfigError: the split is unknown, or the folder does not hold a pair of models.
    """
    if split not in get_args(Split):
        raise ConfigError(f"--split {split}: choose one of {', '.join(get_args(Split))}")
    folder = named_folder(pair or TINY_PAIR)
    models = _load(folder)
    outcomes = asyncio.run(_outcomes(models, prompts=prompts, budget=budget, seed=seed, split=split))
    measured = figures(outcomes)
    console = Console()
    console.print(_table(measured, f"{prompts} {split} prompts, budget {budget}, seed {seed}; percent [95% interval]"))
    if out:
        config = {"prompts": prompts, "budget": budget, "seed": seed, "split": split, "pair": str(folder)}
        result = Result(
            name="world",
            config=config,
            models={"actor": model_lineage(models.actor.model), "refiner": model_lineage(models.refiner.model)},
            figures={field.name: getattr(measured, field.name) for field in fields(measured)},
            items=[_row(number, outcome) for number, outcome in enumerate(outcomes)],
        )
        write_result(out, result)


def _load(folder: Path) -> PairFolder:
    models = load_folder(folder)
    if adapter := models.actor.adapter or models.refiner.adapter:
        raise ConfigError(f"--pair: {adapter} is an adapter; this evaluation needs whole models")
    return models


async def _outcomes(models: PairFolder, *, prompts: int, budget: int, seed: int, split: Any) -> list[Outcome]:
    steps = iter(track(range(prompts), description="prompts"))

    def advance(_: int) -> None:
        next(steps, None)

    async with open_backend(str(models.actor.model)) as actor, open_backend(str(models.refiner.model)) as refiner:
        evaluation = WorldEval(
            actor=actor,
            refiner=refiner,
            templates=load_templates("compact"),
            split=split,
            prompts=prompts,
            budget=budget,
            seed=seed,
        )
        outcomes = await evaluation.run(advance)
    next(steps, None)
    return outcomes


def _table(measured: Figures, title: str) -> Table:
    table = Table(title=title)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, label in _ROWS.items():
        value: Interval = getattr(measured, name)
        table.add_row(label, str(value))
    table.add_row("nodes per answer", f"{measured.nodes:.2f}")
    table.add_row("generated tokens per answer", f"{measured.tokens_per_answer:.0f}")
    return table


def _row(number: int, outcome: Outcome) -> Row:
    return {
        "id": str(number),
        "prompt": outcome.prompt.text,
        "checks": [{"id": c.id, "kwargs": dict(c.kwargs)} for c in outcome.prompt.constraints],
        "draft": outcome.draft.text,
        "draft_passed": outcome.draft_passed,
        "judged": outcome.judgement.value,
        "critique": outcome.judgement.critique,
        "refined": outcome.refined,
        "answer": outcome.result.answer.text,
        "answer_passed": outcome.answer_passed,
        "stop_reason": outcome.result.stop_reason,
        "nodes": outcome.result.nodes,
    }
