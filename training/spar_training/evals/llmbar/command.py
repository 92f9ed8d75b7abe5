"""`spar eval llmbar`: let a judge assess LLMBar's outputs, and report how often it is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spar_core.backends.base import Backend
from spar_core.errors import ConfigError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_training.evals.datasets import data_folder
from spar_training.evals.llmbar import pairs, scoring
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Subject, by_id, run_requests
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, setup_section
from spar_training.reports.plots import Bars, bar_plot
from spar_training.reports.result import Result
from spar_training.storage.files import Row

Item = TypeVar("Item", pairs.Output, pairs.Order)


@dataclass(frozen=True, kw_only=True)
class LLMBar:
    """What is judged: the first `limit` pairs of each subset, each output with `votes` votes.

    With `pairwise`, both outputs of a pair are compared as well.
    """

    votes: int
    templates: str
    pairwise: bool
    limit: int | None

    def __post_init__(self) -> None:
        if self.votes % 2 == 0:
            raise ConfigError(f"--votes {self.votes}: must be odd, so that votes cannot tie")


def run(subject: Subject, settings: LLMBar, *, data: Path | None, out: Path) -> None:
    """Measure `subject` as a judge.

    Raises:
        ConfigError: a file is missing, or `out` holds another evaluation.
        BackendError: the model does not answer.
    """
    folder = data_folder(data)
    config = {
        "benchmark": "llmbar",
        **subject.config(),
        "votes": settings.votes,
        "templates": settings.templates,
        "pairwise": settings.pairwise,
        "limit": settings.limit,
        "data": str(folder),
    }
    prepare_folder(out, config)
    lineage, pointwise, pairwise = asyncio.run(_rows(subject, settings, folder, out))
    counts = range(1, settings.votes + 1, 2)
    by_votes = {votes: scoring.figures(pointwise, votes) for votes in counts}
    both = scoring.pairwise(pairwise) if pairwise else {}
    figures: dict[str, Interval | float] = {}
    for votes, found in by_votes.items():
        for name, one in found.items():
            figures |= {
                f"{name}/accuracy@{votes}": one.accuracy,
                f"{name}/decided@{votes}": one.decided,
                f"{name}/f1@{votes}": one.f1,
                f"{name}/abstained@{votes}": one.abstained,
            }
    for name, two in both.items():
        figures |= {f"{name}/pairwise": two.accuracy, f"{name}/consistent": two.consistent}
    items = [*pointwise, *({**row, "id": f"pairwise/{row['id']}"} for row in pairwise)]
    result = Result(name="llmbar", config=config, models={"judge": lineage}, figures=figures, items=items)
    finish(out, result, _report(result, by_votes, both))


async def _rows(
    subject: Subject, settings: LLMBar, data: Path, out: Path
) -> tuple[dict[str, Any], list[Row], list[Row]]:
    outputs = pairs.read_outputs(data, settings.limit)
    orders = pairs.read_orders(data, settings.limit) if settings.pairwise else []
    async with subject.open() as backend:
        judge = _judge(backend, subject, settings)
        pointwise = await _run(outputs, pairs.judge_output, judge, subject, out / "pointwise.jsonl")
        pairwise = await _run(orders, pairs.compare_outputs, judge, subject, out / "pairwise.jsonl") if orders else []
        return await subject.lineage(), pointwise, pairwise


def _judge(backend: Backend, subject: Subject, settings: LLMBar) -> Judge:
    templates = load_templates(settings.templates)
    return Judge(
        backend=backend, templates=templates, votes=settings.votes, early_stop=False, sampling=subject.sampling
    )


async def _run(
    items: Sequence[Item], ask: Callable[[Item, Judge, int], Awaitable[Row]], judge: Judge, subject: Subject, out: Path
) -> list[Row]:
    """Return the rows of all items; an item that the judge's server refused, e.g. as too long, counts as abstained."""
    rows = await run_requests(
        items, lambda item: ask(item, judge, subject.seed), out=out, in_flight=subject.in_flight, label=out.stem
    )
    known = by_id(rows)
    return [known.get(item.id, {"id": item.id, "good": item.good, "votes": []}) for item in items]


def _report(
    result: Result, by_votes: dict[int, dict[str, scoring.Figures]], both: dict[str, scoring.Pairwise]
) -> Report:
    most = max(by_votes)
    average = by_votes[most]["Average"]
    summary = (
        f"The judge is right in {average.accuracy.percent()} percent of the judgements (mean of the five subsets, "
        f"{most} votes), with an F1 of {100 * average.f1:.1f}. {100 * average.abstained:.1f} percent of the judgements "
        "have no verdict and count as wrong."
    )
    if average.decided.n:
        summary += f" Accuracy of those with a verdict: {average.decided.percent()}."
    sections = [
        Section(
            "Pointwise",
            "Each output is judged alone: the better one of a pair should get Yes, the other No. Intervals are 95% "
            "bootstrap intervals over pairs.",
            [_votes_table(votes, found) for votes, found in reversed(by_votes.items())],
            [_figure(by_votes)],
        )
    ]
    if both:
        rows = [
            [name, one.accuracy.percent(), one.consistent.percent(), f"{100 * one.abstained:.1f}"]
            for name, one in both.items()
        ]
        header = ["subset", "accuracy", "same choice in both orders", "abstained"]
        sections.append(
            Section("Pairwise", "Both outputs are in one prompt, in either order.", [Table(header, rows, "Percent")])
        )
    return Report(f"LLMBar: {result.config['model']}", summary, [*sections, setup_section(result)])


def _votes_table(votes: int, found: dict[str, scoring.Figures]) -> Table:
    rows = [
        [name, str(one.accuracy.n), one.accuracy.percent(), one.decided.percent(), f"{100 * one.f1:.1f}",
         f"{100 * one.abstained:.1f}"]
        for name, one in found.items()
    ]  # fmt: skip
    header = ["subset", "judgements", "accuracy", "accuracy with a verdict", "F1 of Yes", "abstained"]
    return Table(header, rows, f"Percent, {votes} vote{'s' if votes > 1 else ''}")


def _figure(by_votes: dict[int, dict[str, scoring.Figures]]) -> Figure:
    names = list(by_votes[1])
    bars = [
        Bars(f"{votes} vote{'s' if votes > 1 else ''}", [found[name].accuracy for name in names])
        for votes, found in by_votes.items()
    ]
    return Figure(
        bar_plot(names, bars, y_label="accuracy, percent"),
        "Accuracy by subset and number of votes; the whiskers are 95% intervals.",
        "Bars of the judge's accuracy on each subset of LLMBar for each number of votes",
    )
