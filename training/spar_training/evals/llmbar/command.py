"""`spar eval llmbar`: ask a judge about LLMBar's outputs, and report how often it is right."""

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
from spar_training.evals.run_folder import claim, finish
from spar_training.evals.subject import Subject, by_id, run_asked
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, setup_section
from spar_training.reports.plots import Bars, bar_plot
from spar_training.reports.result import Result
from spar_training.storage.files import Row

Item = TypeVar("Item", pairs.Output, pairs.Order)


@dataclass(frozen=True, kw_only=True)
class LLMBar:
    """What is asked: of each subset the first `limit` pairs, `votes` times an output, `pairwise` besides or not."""

    votes: int
    templates: str
    pairwise: bool
    limit: int | None

    def __post_init__(self) -> None:
        if self.votes % 2 == 0:
            raise ConfigError(f"--votes {self.votes}: must be odd, so that votes cannot tie")


def run(subject: Subject, asked: LLMBar, *, data: Path | None, out: Path) -> None:
    """Measure `subject` as a judge.

    Raises:
        ConfigError: a file is missing, or `out` holds another evaluation.
        BackendError: the model does not answer.
    """
    folder = data_folder(data)
    config = {
        "benchmark": "llmbar",
        **subject.config(),
        "votes": asked.votes,
        "templates": asked.templates,
        "pairwise": asked.pairwise,
        "limit": asked.limit,
        "data": str(folder),
    }
    claim(out, config)
    about, pointwise, pairwise = asyncio.run(_rows(subject, asked, folder, out))
    counts = range(1, asked.votes + 1, 2)
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
    result = Result(name="llmbar", config=config, models={"judge": about}, figures=figures, items=items)
    finish(out, result, _report(result, by_votes, both))


async def _rows(subject: Subject, asked: LLMBar, data: Path, out: Path) -> tuple[dict[str, Any], list[Row], list[Row]]:
    outputs = pairs.read_outputs(data, asked.limit)
    orders = pairs.read_orders(data, asked.limit) if asked.pairwise else []
    async with subject.opened() as backend:
        judge = _judge(backend, subject, asked)
        pointwise = await _run(outputs, pairs.judged, judge, subject, out / "pointwise.jsonl")
        pairwise = await _run(orders, pairs.compared, judge, subject, out / "pairwise.jsonl") if orders else []
        return await subject.about(), pointwise, pairwise


def _judge(backend: Backend, subject: Subject, asked: LLMBar) -> Judge:
    templates = load_templates(asked.templates)
    return Judge(backend=backend, templates=templates, votes=asked.votes, early_stop=False, sampling=subject.sampling)


async def _run(
    items: Sequence[Item], ask: Callable[[Item, Judge, int], Awaitable[Row]], judge: Judge, subject: Subject, out: Path
) -> list[Row]:
    """The rows of all items; what the judge could not be asked, being too long for one, it abstains from."""
    rows = await run_asked(
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
        f"Right in {average.accuracy.percent()} percent of the judgements (mean of the five subsets, {most} votes), F1 "
        f"{100 * average.f1:.1f}. {100 * average.abstained:.1f} percent of the judgements have no verdict; they count "
        "as not right."
    )
    if average.decided.n:
        summary += f" Over those that have one: {average.decided.percent()}."
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
            Section("Pairwise", "Both outputs in one prompt, in both orders.", [Table(header, rows, "Percent")])
        )
    return Report(f"LLMBar: {result.config['model']}", summary, [*sections, setup_section(result)])


def _votes_table(votes: int, found: dict[str, scoring.Figures]) -> Table:
    rows = [
        [name, str(one.accuracy.n), one.accuracy.percent(), one.decided.percent(), f"{100 * one.f1:.1f}",
         f"{100 * one.abstained:.1f}"]
        for name, one in found.items()
    ]  # fmt: skip
    header = ["subset", "judgements", "accuracy", "of those with a verdict", "F1 of Yes", "abstained"]
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
