"""A judge on its actor's answers: right and wrong by code, holistically and by a checklist."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.judge import JudgeName
from spar_core.types import Sampling
from spar_training.evals.ifeval.command import run as run_ifeval
from spar_training.evals.judge.command import JudgeEval, run
from spar_training.evals.subject import Subject
from spar_training.reports.intervals import Interval
from spar_training.reports.result import Result, read_result
from tests.support.benchmark_data import write_ifeval, write_lines
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
# The third prompt has no response, and the second's lacks a word.
ANSWERS = {"No comma about rain.": "It rains.", "Two words or more, with a lamp.": "lamp"}


def answered(folder: Path) -> Path:
    """A finished evaluation of the answers."""
    write_ifeval(folder / "data")
    write_lines(folder / "responses.jsonl", [{"prompt": p, "response": r} for p, r in ANSWERS.items()])
    run_ifeval(
        subject=None,
        responses=folder / "responses.jsonl",
        data=folder / "data",
        prompts=None,
        limit=None,
        out=folder / "ifeval",
    )
    return folder / "ifeval"


def judged(folder: Path, serving: Serving, reply: str, *, judge: JudgeName = "holistic") -> Result:
    asked = JudgeEval(answers=answered(folder), judge=judge, votes=3, templates="brief")
    with serving(scripted_pair(actor=lambda messages, sampling: reply)) as url:
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(extra={"refine_budget": 0}))
        run(subject, asked, out=folder / "judge")
    return read_result(folder / "judge" / "result.json")


def means(result: Result) -> dict[str, float]:
    return {name: one.mean for name, one in result.figures.items() if isinstance(one, Interval)}


def test_a_judge_that_accepts_everything_is_right_about_good_answers_only(tmp_path: Path, serving: Serving) -> None:
    result = judged(tmp_path, serving, "Final Judgement: Yes")
    assert [(row["good"], row["accepted"]) for row in result.items] == [(True, True), (False, True)]
    assert means(result) == {"judge_on_good": 1.0, "judge_on_bad": 0.0, "judge_balanced": 0.5}
    assert all(row["tokens"] > 0 for row in result.items)


def test_a_judgement_without_a_verdict_is_wrong(tmp_path: Path, serving: Serving) -> None:
    assert means(judged(tmp_path, serving, "Well."))["judge_balanced"] == 0.0
    assert "2 judgements have no verdict" in (tmp_path / "judge" / "report.md").read_text(encoding="utf-8")


def test_code_decides_what_a_checklist_recognizes(tmp_path: Path, serving: Serving) -> None:
    result = judged(tmp_path, serving, "Final Judgement: No", judge="checklist")
    assert [(row["by_code"], row["accepted"]) for row in result.items] == [(True, True), (True, False)]
    assert means(result)["judge_balanced"] == 1.0


def test_the_folder_must_be_an_evaluation_of_ifeval(tmp_path: Path, serving: Serving) -> None:
    judged(tmp_path, serving, "Final Judgement: Yes")
    with pytest.raises(ConfigError, match=r"judge: an evaluation of judge; give one of ifeval"):
        run(
            Subject(model="pair", urls=("http://127.0.0.1:9/v1",), sampling=Sampling()),
            JudgeEval(answers=tmp_path / "judge", judge="holistic", votes=3, templates="brief"),
            out=tmp_path / "again",
        )


def test_votes_cannot_tie(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--votes 2: must be odd"):
        JudgeEval(answers=tmp_path, judge="holistic", votes=2, templates="brief")
