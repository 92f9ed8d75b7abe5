"""`spar eval judge`: let a judge assess the answers of an IFEval evaluation, and report how often it is right."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.checklist import ChecklistJudgement
from spar_core.errors import ConfigError, DataError
from spar_core.judge import JudgeName
from spar_core.seeds import derive_seed
from spar_core.types import Message
from spar_training.evals.ifeval.scoring import read_prompts
from spar_training.evals.judge.accuracy import judge_accuracy
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Subject, by_id, run_requests
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Report, Section, Table, setup_section
from spar_training.reports.result import Result, read_result
from spar_training.stages.judge import Judging
from spar_training.storage.files import Row

_LABELS: Final = {
    "judge_balanced": "balanced over good and bad",
    "judge_on_good": "on good answers",
    "judge_on_bad": "on bad answers",
}


@dataclass(frozen=True, kw_only=True)
class JudgeEval:
    """What is judged and how: the responses of the evaluation in the folder `answers`, with `votes` votes each."""

    answers: Path
    judge: JudgeName
    votes: int
    templates: str

    def __post_init__(self) -> None:
        if self.votes % 2 == 0:
            raise ConfigError(f"--votes {self.votes}: must be odd, so that votes cannot tie")


@dataclass(frozen=True, slots=True)
class _Answered:
    id: str
    prompt: str
    response: str
    good: bool


def run(subject: Subject, settings: JudgeEval, *, out: Path) -> None:
    """Measure `subject` as a judge. An answer is good if it follows every instruction, strictly.

    Raises:
        ConfigError: `answers` is another benchmark's evaluation, or `out` holds another evaluation.
        DataError: `answers` has no result, or its prompts are gone.
        BackendError: the model does not answer.
    """
    answered = _read(settings.answers)
    config = {
        "benchmark": "judge",
        **subject.config(),
        "answers": str(settings.answers),
        "judge": settings.judge,
        "votes": settings.votes,
        "templates": settings.templates,
    }
    prepare_folder(out, config)
    lineage, rows = asyncio.run(_judge(answered, subject, settings, out / "judgements.jsonl"))
    result = Result(name="judge", config=config, models={"judge": lineage}, figures=judge_accuracy(rows), items=rows)
    finish(out, result, _report(result, settings))


def _read(folder: Path) -> list[_Answered]:
    """The prompts that got a response, with the response."""
    evaluation = read_result(folder / "result.json")
    if evaluation.name != "ifeval":
        raise ConfigError(f"--answers {folder}: an evaluation of {evaluation.name}; give one of ifeval")
    texts = {prompt.key: prompt.text for prompt in read_prompts(Path(evaluation.config["prompts_file"]))}
    found = [
        _Answered(row["id"], texts[row["id"]], row["response"], all(row["strict"]))
        for row in evaluation.items
        if row["id"] in texts and (row["response"] or "").strip()
    ]
    if not found:
        raise DataError(f"--answers {folder}: has no responses to judge")
    return found


async def _judge(
    answered: list[_Answered], subject: Subject, settings: JudgeEval, out: Path
) -> tuple[dict[str, Any], list[Row]]:
    """The judge's lineage, and its judgements; a request that its server refused, e.g. as too long, has no verdict."""
    judging = Judging(settings.judge, settings.templates, settings.votes, subject.sampling)
    async with subject.open() as backend:
        judge = judging.by(backend)

        async def work(item: _Answered) -> Row:
            seed = derive_seed(subject.seed, "judge", item.id)
            judgement = await judge.judge([Message("user", item.prompt)], item.response, seed=seed)
            return {
                "good": item.good,
                "accepted": judgement.accepted,
                "value": judgement.value,
                "by_code": isinstance(judgement, ChecklistJudgement) and not judgement.votes,
                "tokens": sum(vote.usage.completion_tokens for vote in judgement.votes),
            }

        rows = by_id(await run_requests(answered, work, out=out, in_flight=subject.in_flight, label="judgements"))
        refused: Row = {"accepted": False, "value": None, "by_code": False, "tokens": 0}
        return await subject.lineage(), [
            rows.get(item.id, {"id": item.id, "good": item.good, **refused}) for item in answered
        ]


def _report(result: Result, settings: JudgeEval) -> Report:
    unread = sum(row["value"] is None for row in result.items)
    by_code = sum(row["by_code"] for row in result.items)
    summary = (
        f"The {settings.judge} judge, {settings.votes} votes, on {len(result.items):,} answers. {unread:,} judgements "
        "have no verdict and count as wrong."
    )
    summary += f" A judgement generated {sum(row['tokens'] for row in result.items) / len(result.items):,.0f} tokens."
    if settings.judge == "checklist":
        summary += f" Code alone decided {by_code:,}."
    rows = [
        [label, str(one.n), one.percent()]
        for name, label in _LABELS.items()
        if isinstance(one := result.figures.get(name), Interval)
    ]
    table = Table(["judge accuracy", "answers", "percent [95% interval]"], rows, "Judge accuracy")
    return Report(
        f"Judge: {result.config['model']}", summary, [Section("Accuracy", "", [table]), setup_section(result)]
    )
