"""`spar eval followbench`: query a model, score its answers by rules and by a judge, and report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_training.evals.datasets import data_folder
from spar_training.evals.followbench import scoring
from spar_training.evals.followbench.judge import judge_row
from spar_training.evals.followbench.rows import KINDS, LEVELS, Row, read_groups
from spar_training.evals.followbench.rules import rule_of
from spar_training.evals.followbench.scoring import ScoredRow
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Question, Subject, ask, by_id, run_requests
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, setup_section
from spar_training.reports.plots import Bars, bar_plot
from spar_training.reports.result import Result

_MAX_ROWS: Final = 20
_EXCERPT: Final = 300


@dataclass(frozen=True, kw_only=True)
class FollowBench:
    """How answers are scored.

    `judge` is None to score only what rules can. It is asked up to `tries` times for a reply that can be parsed. Only
    the first `limit` groups of each kind are used.
    """

    judge: Subject | None
    tries: int
    limit: int | None


def run(subject: Subject, settings: FollowBench, *, data: Path | None, out: Path) -> None:
    """Measure `subject`.

    Raises:
        ConfigError: a file is missing, or `out` holds another evaluation.
        DataError: a file is not in FollowBench's format.
        BackendError: the model or the judge does not answer.
    """
    judge = settings.judge
    if judge and not judge.urls and not Path(judge.model).is_dir():
        raise ConfigError(f"--judge-model {judge.model}: no such folder; give the --judge-url of its server")
    folder = data_folder(data)
    config = {
        "benchmark": "followbench",
        **subject.config(),
        "judge": judge.config() if judge else None,
        "judge_tries": settings.tries,
        "limit": settings.limit,
        "data": str(folder),
    }
    groups = read_groups(folder, settings.limit)
    prepare_folder(out, config)
    rows = [row for group in groups for row in group]
    models, answers, verdicts = asyncio.run(_collect(rows, subject, settings, out))
    scored = [
        [_score(row, answers.get(row.id), verdicts.get(row.id), judged=judge is not None) for row in group]
        for group in groups
    ]
    result = Result(
        name="followbench",
        config=config,
        models=models,
        figures=_figures(scored),
        items=[_item(one, verdicts.get(one.row.id)) for group in scored for one in group],
    )
    finish(out, result, _report(result, scored, verdicts))


async def _collect(
    rows: Sequence[Row], subject: Subject, settings: FollowBench, out: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, str], Mapping[str, dict[str, Any]]]:
    """Return the models' lineage, and the answers and the judge's verdicts by row."""
    judge = settings.judge
    async with subject.open() as backend:
        # What nobody can score need not be answered.
        questions = [Question.of(row.id, row.instruction) for row in rows if judge or rule_of(row)]
        found = await ask(questions, backend, subject, out=out / "answers.jsonl", label="answers")
        models = {"model": await subject.lineage()}
    answers: dict[str, str] = {row["id"]: row["response"] for row in found}
    if judge is None:
        return models, answers, {}
    async with judge.open() as backend:
        models["judge"] = await judge.lineage()
        todo = [row for row in rows if rule_of(row) is None and row.id in answers]

        async def work(row: Row) -> dict[str, Any]:
            return await judge_row(row, answers[row.id], backend, judge.sampling, tries=settings.tries, seed=judge.seed)

        verdicts = await run_requests(
            todo, work, out=out / "judgements.jsonl", in_flight=judge.in_flight, label="judgements"
        )
    return models, answers, by_id(verdicts)


def _score(row: Row, response: str | None, verdict: Mapping[str, Any] | None, *, judged: bool) -> ScoredRow:
    """Score a row; without an answer nothing is satisfied, so that omitting answers cannot raise the score."""
    rule = rule_of(row)
    if rule is None and not judged:
        return ScoredRow(row, None, "nobody", None)
    if response is None:
        return ScoredRow(row, None, "nothing to score", (False,) * row.level)
    if rule is not None:
        return ScoredRow(row, response, "rule", (rule(response, row.target, row.level),))
    if verdict is None:
        return ScoredRow(row, response, "nobody", None)
    satisfied = verdict["satisfied"]
    return ScoredRow(row, response, "judge", None if satisfied is None else tuple(satisfied))


def _figures(groups: Sequence[Sequence[ScoredRow]]) -> dict[str, Interval | float]:
    found: dict[str, Interval | float] = {}
    for name, some in (("all", groups), *_by_kind(groups)):
        one = scoring.figures(some)
        found |= {f"{name}/hsr@{level}": value for level, value in one.hsr.items()}
        found |= {f"{name}/ssr@{level}": value for level, value in one.ssr.items()}
        found |= {f"{name}/hsr": one.hsr_mean, f"{name}/ssr": one.ssr_mean, f"{name}/csl": one.csl}
    return found


def _by_kind(groups: Sequence[Sequence[ScoredRow]]) -> list[tuple[str, list[Sequence[ScoredRow]]]]:
    return [(kind, [group for group in groups if group[0].row.kind == kind]) for kind in KINDS]


def _item(one: ScoredRow, verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "id": one.row.id,
        "source": one.row.source,
        "by": one.by,
        "satisfied": None if one.satisfied is None else list(one.satisfied),
        "response": one.response,
        "judge": None if verdict is None else verdict["replies"],
    }


def _report(result: Result, groups: Sequence[Sequence[ScoredRow]], verdicts: Mapping[str, Mapping[str, Any]]) -> Report:
    measured = scoring.figures(groups)
    by = Counter(one.by for group in groups for one in group)
    unread = [(id, row["replies"][-1]) for id, row in verdicts.items() if row["satisfied"] is None]
    unanswered = by["nothing to score"]
    summary = (
        f"SSR {measured.ssr_mean.percent()}, HSR {measured.hsr_mean.percent()} (percent, means of the five levels), "
        f"CSL {_levels(measured.csl)} of 5.\n\n{by['rule']} instructions are scored by rule and {by['judge']} by the "
        f"judge. {len(unread)} of its replies could not be parsed and are left out."
    )
    if by["nobody"]:
        reason = "the judge refused them" if result.config["judge"] else "they need a --judge-model"
        summary += f" {by['nobody']} have no verdict and are left out: {reason}."
    if unanswered:
        summary += f" {unanswered} got no answer from the model and count as not satisfied."
    rows = [
        [f"level {level}", str(measured.hsr[level].n), measured.ssr[level].percent(), measured.hsr[level].percent()]
        for level in LEVELS
    ]
    kinds = []
    for kind, some in _by_kind(groups):
        one = scoring.figures(some)
        kinds.append([kind, str(one.csl.n), one.ssr_mean.percent(), one.hsr_mean.percent(), _levels(one.csl)])
    bars = [Bars("SSR", list(measured.ssr.values())), Bars("HSR", list(measured.hsr.values()))]
    figure = Figure(
        bar_plot([f"level {level}" for level in LEVELS], bars, y_label="satisfied, percent"),
        "Satisfaction by level; the whiskers are 95% intervals.",
        "Bars of the soft and hard satisfaction rates at levels one to five",
    )
    header = ["kind", "groups with a CSL", "SSR", "HSR", "CSL"]
    sections = [
        Section("By level", "", [Table(["", "instructions", "SSR", "HSR"], rows, "Percent [95% interval]")], [figure]),
        Section("By kind", "", [Table(header, kinds, "SSR and HSR in percent, means of the levels")]),
    ]
    if unread:
        shown = [[id, repr(reply[-_EXCERPT:])] for id, reply in unread[:_MAX_ROWS]]
        text = f"{len(unread)} of {by['judge']} judgements. All replies are in the result's items."
        table = Table(["instruction", "end of the reply"], shown)
        sections.append(Section("Replies that could not be parsed", text, [table]))
    return Report(f"FollowBench: {result.config['model']}", summary, [*sections, setup_section(result)])


def _levels(csl: Interval) -> str:
    return f"{csl.mean:.2f} [{csl.low:.2f}, {csl.high:.2f}]" if csl.n else "–"
