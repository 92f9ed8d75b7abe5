"""LLMBar: a judge's accuracy on single outputs by number of votes, and its choices between two outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendUnavailable, ConfigError, DataError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling
from spar_training.evals.llmbar import pairs, scoring
from spar_training.evals.llmbar.command import LLMBar, run
from spar_training.evals.subject import Subject
from spar_training.reports.result import read_result
from tests.support.benchmark_data import SUBSETS, write_llmbar
from tests.support.pairs import scripted_pair


def row(id: str, good: bool, *verdicts: bool | None) -> dict[str, object]:
    return {"id": id, "good": good, "votes": [{"verdict": verdict, "text": ""} for verdict in verdicts]}


def test_figures_at_fewer_votes_use_the_first_of_the_same_votes() -> None:
    rows = [
        row(f"{name}/1/{number}", number == 1, *votes)
        for name in scoring.SUBSETS
        for number, votes in ((1, (False, True, True)), (2, (False, False, True)))
    ]
    one, three = scoring.figures(rows, 1)["Average"], scoring.figures(rows, 3)["Average"]
    assert (one.accuracy.mean, one.f1) == (0.5, 0.0)
    assert (three.accuracy.mean, three.f1) == (1.0, 1.0)


def test_abstentions_are_counted_separately_and_as_wrong() -> None:
    rows = [
        row(f"{name}/1/{number}", number == 1, *[None if number == 2 else True] * 3)
        for name in scoring.SUBSETS
        for number in (1, 2)
    ]
    natural = scoring.figures(rows, 3)["Natural"]
    assert (natural.accuracy.mean, natural.decided.mean, natural.abstained) == (0.5, 1.0, 0.5)


def test_the_means_weight_subsets_equally_whatever_their_size() -> None:
    rows = [row(f"Natural/{n}/1", True, True) for n in range(90)]
    rows += [row(f"{name}/1/1", True, False) for name in scoring.SUBSETS[1:]]
    found = scoring.figures(rows, 1)
    assert found["Average"].accuracy.mean == pytest.approx(0.2)
    assert found["Adversarial"].accuracy.mean == 0


def test_f1_is_that_of_the_verdict_yes() -> None:
    assert scoring.f1([(True, True), (True, False), (False, True), (False, False)]) == 0.5
    assert scoring.f1([(False, True)]) == 0.0


def chosen(id: str, good: int, choice: int | None) -> dict[str, object]:
    return {"id": id, "good": good, "votes": [{"choice": choice, "text": ""}]}


def test_a_judge_that_decides_by_position_is_half_right_and_never_consistent() -> None:
    rows = [chosen(f"{name}/1/{order}", good, 1) for name in scoring.SUBSETS for order, good in (("12", 1), ("21", 2))]
    found = scoring.pairwise(rows)["Average"]
    assert (found.accuracy.mean, found.consistent.mean, found.abstained) == (0.5, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("The first misses it.\nBetter Response: 2", 2),
        ("**Better Response: 1**", 1),
        ("Better response: 1? No.\nBetter Response: 2", 2),
        ("Both are fine.", None),
        ("Better Response: 12", None),
    ],
)
def test_the_last_choice_counts(text: str, choice: int | None) -> None:
    assert pairs.choice_of(text) == choice


async def test_a_failed_call_is_an_error_and_not_a_vote() -> None:
    backend = ScriptedBackend(lambda messages, sampling: BackendUnavailable("502"))
    judge = Judge(backend=backend, templates=load_templates("default"), votes=3, early_stop=False)
    with pytest.raises(BackendUnavailable, match="502"):
        await pairs.judge_output(pairs.Output("Natural/1/1", "Say good.", "good", True), judge, 0)


def knows(messages: Sequence[Message], sampling: Sampling) -> str:
    """Right about single outputs; of two it prefers the first."""
    prompt = messages[-1].text
    if "Better Response" in prompt:
        return "Better Response: 1"
    return "Final Judgement: " + ("Yes" if "<response>\ngood" in prompt else "No")


def test_a_judge_behind_a_server_is_measured(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_llmbar(tmp_path)
    settings = LLMBar(votes=3, templates="default", pairwise=True, limit=None)
    with serving(scripted_pair(actor=knows)) as url:
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0.7, max_tokens=64))
        run(subject, settings, data=tmp_path, out=tmp_path / "out")
    result = read_result(tmp_path / "out" / "result.json")
    figures = json.loads((tmp_path / "out" / "result.json").read_text())["figures"]
    assert [figures[f"Average/accuracy@{votes}"]["mean"] for votes in (1, 3)] == [1.0, 1.0]
    assert figures["Average/f1@3"] == 1.0
    assert (figures["Average/pairwise"]["mean"], figures["Average/consistent"]["mean"]) == (0.5, 0.0)
    assert len(result.items) == 2 * 4 * len(SUBSETS)
    assert all(len(item["votes"]) == 3 for item in result.items)


def test_an_even_number_of_votes_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be odd"):
        LLMBar(votes=4, templates="default", pairwise=False, limit=None)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([], "has no pairs"),
        ([{"input": None, "output_1": "a", "output_2": "b", "label": 1}], "item 1: input must be text, is None"),
    ],
)
def test_a_malformed_subset_is_refused(tmp_path: Path, rows: list[dict[str, object]], error: str) -> None:
    write_llmbar(tmp_path)
    (tmp_path / "llmbar" / "Natural" / "dataset.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError, match=error):
        pairs.read_outputs(tmp_path, None)
