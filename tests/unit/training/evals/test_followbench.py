"""FollowBench: rules, a judge's verdicts, and the three figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import ConfigError, DataError
from spar_core.types import Message, Sampling
from spar_training.cli.evaluate import followbench
from spar_training.evals.followbench import scoring
from spar_training.evals.followbench.command import FollowBench, run
from spar_training.evals.followbench.judge import judge_prompt, judge_row, parse_verdicts
from spar_training.evals.followbench.rows import Row, read_groups
from spar_training.evals.followbench.rules import rule_of
from spar_training.evals.followbench.scoring import ScoredRow
from spar_training.evals.subject import Subject
from spar_training.reports.result import read_result
from tests.support.benchmark_data import REAL, needs_real_data, write_followbench
from tests.support.pairs import scripted_pair


def row(kind: str, level: int, *, source: str = "quora", target: str = "", example: int = 1) -> Row:
    path = tuple(f"step {n}" for n in range(level + 1))
    return Row(kind, example, level, source, path[-1], target, path)


FORTY = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen " * 2
SPEECH = "\n".join(
    f"{n}. **Growth**: it makes our great land richer in every single one of its towns." for n in range(1, 6)
)

# (row, responses that do what the row asks, responses that do not)
RULES: list[tuple[Row, list[str], list[str]]] = [
    (row("content", 1, source="E2E", target="name[A], eatType[pub]"), ["name[A], eatType[pub]\n"], ["name[A]", ""]),
    (row("content", 1, source="WIKIEVENTS", target="a died\nb died"), ["b died", "a died\nb died"], ["c died", ""]),
    (row("content", 1, source="CONLL2003", target="['Bonn', 'Berlin']"), ["Bonn"], ["Paris", "['Bonn']"]),
    (row("mixed", 2, source="text_editing", target="apples love I"), ["apples love I"], ["Apples love I"]),
    (row("mixed", 2, source="cnn_dailymail"), ["One. Two! Three?"], ["One. Two.", f"{FORTY}. Two. Three."]),
    (row("mixed", 3, source="cnn_dailymail"), ["Potter won. An actor he is. His films ran."], ["One. Two. Three."]),
    (row("mixed", 5, source="cnn_dailymail"), ["Potter won. The actor spoke. The films have run."],
     ["Potter won. The lavish actor spoke. The films have run.", "Potter won. The actor spoke. The films ran."]),
    (row("mixed", 5, source="xsum"), ["An operation is clearing the water."],
     ["An operation cleared it.", "An operation is clearing it in Newton Stewart.", "It is clearing."]),
    (row("mixed", 5, source="samsum"), ["Kim did no stuff."], ["Kim, alas, did no stuff.", "She procrasts stuff."]),
    (row("mixed", 5, source="gigaword"), ["two people killed in attack in southern philippines"],
     ["Two people killed in attack in southern philippines", "two people killed in bus attack in philippines", "two"]),
    (row("mixed", 5, source="arxiv"), ["We edit activations of models."],
     ["We edit transformer activations.", "West activations."]),
    (row("situation", 1, source="BBH_logical", target="(B)"), ["Not (A) but (B)."], ["(B), no, (A)", "B"]),
    (row("situation", 1, source="BBH_time", target="12/25/1937"), ["12/24/1937 + 1 = 12/25/1937"], ["12/24/1937", ""]),
    (row("situation", 1, source="self_made_space", target="14th floor"), ["On the 14th floor."], ["15th floor"]),
    (row("situation", 1, source="gsm_8k", target="$10"), ["$12 less $2 is $10."], ["$100", "10"]),
    (row("example", 3, target="{instruction}\nBot: {answer}"), ["Bot: yes."], ["yes.", "Bot: yes\nBot: no"]),
    (row("example", 3, target="{instruction}\n{{'Reply': '{answer}'}}"), ["{'Reply': 'yes'}"], ["{{'Reply': 'yes'}}"]),
    (row("format", 1, example=22), ["a\n\nb\n\nc"], ["a\n\nb"]),
    (row("format", 5, example=22), ["\n\n".join(f"{n}. {FORTY}." for n in (1, 2, 3)) + "\n\nThose are suggestions"],
     ["\n\n".join(f"{n}. {FORTY}." for n in (1, 2, 3)), "\n\n".join([f"{FORTY}."] * 3) + " Those are suggestions"]),
    (row("format", 5, example=30), [SPEECH],
     [SPEECH.replace("great", "truly great"), SPEECH.replace("**", ""), "**a**"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "right", "wrong"), RULES, ids=[f"{r.source}-{r.kind}-{r.level}" for r, _, _ in RULES])
def test_a_rule_accepts_only_what_the_row_asks_for(of: Row, right: list[str], wrong: list[str]) -> None:
    rule = rule_of(of)
    assert rule is not None
    assert [response for response in right if not rule(response, of.target, of.level)] == []
    assert [response for response in wrong if rule(response, of.target, of.level)] == []


def test_other_rows_need_a_judge() -> None:
    assert rule_of(row("content", 1)) is None
    assert rule_of(row("format", 1)) is None
    assert rule_of(row("style", 1, example=22)) is None
    # For the kind `example`, a source's name has no meaning.
    assert rule_of(row("example", 1, source="xsum", target="{answer}")) is not None


@pytest.mark.parametrize(
    ("text", "count", "verdicts"),
    [
        ("1) tone 2) length\n['YES', 'NO']", 2, [True, False]),
        ('so:\n[YES, no, "Yes"]', 3, [True, False, True]),
        ("**[YES]**", 1, [True]),
        ("It does.\nYES", 1, [True]),
        ("['YES', 'NO']\nThat is my verdict.", 2, [True, False]),
        ("['YES']", 2, None),
        ("['YES', 'MAYBE']", 2, None),
        ("YES NO", 2, None),
        ("[__import__('os').system('false'), 'YES']", 2, None),
        ("", 1, None),
    ],
)
def test_verdicts_are_parsed_or_none(text: str, count: int, verdicts: list[bool] | None) -> None:
    assert parse_verdicts(text, count) == verdicts


def test_the_judge_sees_how_the_constraints_were_added() -> None:
    prompt = judge_prompt(row("style", 3), "my answer {level}")
    positions = [
        prompt.index(text) for text in ("step 0", "step 1", "step 2", "step 3", "my answer {level}", "3 verdicts")
    ]
    assert positions == sorted(positions)


async def test_a_reply_that_cannot_be_parsed_is_stored_and_requested_again() -> None:
    replies = iter(["I would rather not say.", "['YES']"])
    backend = ScriptedBackend(lambda messages, sampling: next(replies))
    found = await judge_row(row("style", 1), "x", backend, Sampling(temperature=0), tries=3, seed=0)
    assert found == {"satisfied": [True], "replies": ["I would rather not say.", "['YES']"]}
    # At temperature 0 the same reply would come again.
    assert [sampling.temperature for _, sampling in backend.calls] == [0, 0.7]
    never = await judge_row(row("style", 1), "x", ScriptedBackend(always("?")), Sampling(), tries=2, seed=0)
    assert never == {"satisfied": None, "replies": ["?", "?"]}


def group(*levels: Sequence[bool] | None) -> list[ScoredRow]:
    return [
        ScoredRow(row("style", level), "", "judge", None if satisfied is None else tuple(satisfied))
        for level, satisfied in enumerate(levels, start=1)
    ]


def test_the_three_figures() -> None:
    one = group([True], [True, True], [True, False, True], [True] * 4, [False] * 5)
    two = group([False], [True, False], [True] * 3, [True] * 4, [True] * 5)
    found = scoring.figures([one, two])
    assert [found.hsr[level].mean for level in range(1, 6)] == [0.5, 0.5, 0.5, 1.0, 0.5]
    assert [round(found.ssr[level].mean, 3) for level in range(1, 6)] == [0.5, 0.75, 0.833, 1.0, 0.5]
    assert (found.hsr_mean.mean, found.csl.mean) == (0.6, 1.0)


def test_a_missing_verdict_is_left_out() -> None:
    known = group([True], [True, True], [False] * 3, None, None)
    unknown = group(None, [True, True], [True] * 3, [True] * 4, [True] * 5)
    found = scoring.figures([known, unknown])
    assert [found.hsr[level].n for level in range(1, 6)] == [1, 2, 2, 1, 1]
    # The first group's end is known; the second's is not.
    assert (found.csl.mean, found.csl.n) == (2.0, 1)


def judge(messages: Sequence[Message], sampling: Sampling) -> str:
    asked = messages[-1].text
    if "list of" not in asked:
        return "12/25/1937"
    if "style:" in asked:
        return "I cannot tell."
    count = asked.count("YES or NO")
    return str(["YES"] * (count - 1) + ["NO" if count == 5 else "YES"])


def test_a_model_behind_a_server_is_queried_and_judged(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_followbench(tmp_path)
    with serving(scripted_pair(actor=judge)) as url:
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0))
        run(subject, FollowBench(judge=subject, tries=2, limit=None), data=tmp_path, out=tmp_path / "out")
    result = read_result(tmp_path / "out" / "result.json")
    mean = {name: value if isinstance(value, float) else value.mean for name, value in result.figures.items()}
    assert (mean["situation/hsr"], mean["example/hsr"], mean["content/hsr"]) == (1.0, 0.0, 0.8)
    assert mean["content/ssr"] == pytest.approx((4 + 4 / 5) / 5)
    assert (mean["content/csl"], mean["situation/csl"]) == (4.0, 5.0)
    unread = [item for item in result.items if item["satisfied"] is None]
    assert [item["id"] for item in unread] == [f"style/1/{level}" for level in range(1, 6)]
    assert all(item["judge"] == ["I cannot tell."] * 2 for item in unread)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "5 of its replies could not be parsed" in report
    assert "| style/1/3 | 'I cannot tell.' |" in report


def test_without_a_judge_only_what_rules_score_is_asked(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_followbench(tmp_path)
    with serving(scripted_pair(actor=judge)) as url:
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0))
        run(subject, FollowBench(judge=None, tries=1, limit=None), data=tmp_path, out=tmp_path / "out")
    result = read_result(tmp_path / "out" / "result.json")
    assert sum(item["satisfied"] is not None for item in result.items) == 10
    assert len((tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 10
    assert "20 have no verdict" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{}], r"example 3: has the levels \[1\], needs \[1, 2, 3, 4, 5\]"),
        ([{}, {"level": 2}, {}], "item 3: example 3 has level 1 already"),
        ([{"instruction": None}], "item 1: instruction must be text, is None"),
        ([{}, {"level": 2, "instruction": " "}], "item 2: instruction is empty"),
    ],
)
def test_incomplete_groups_are_refused_with_their_location(
    tmp_path: Path, rows: list[dict[str, object]], error: str
) -> None:
    write_followbench(tmp_path)
    valid = {"example_id": 3, "source": "", "level": 1, "instruction": "Write.", "target": ""}
    file = tmp_path / "followbench" / "style_constraints.json"
    file.write_text(json.dumps([{**valid, **row} for row in rows]))
    with pytest.raises(DataError, match=error):
        read_groups(tmp_path, None)


@needs_real_data
def test_the_published_targets_satisfy_their_rules() -> None:
    rows = [row for group in read_groups(REAL, None) for row in group]
    assert len(rows) == 5 * 164
    scored = [(row, rule) for row in rows if (rule := rule_of(row)) is not None]
    assert len(scored) == 5 * 70
    exact = [(row, rule) for row, rule in scored if row.target and row.kind != "example" and row.source != "CONLL2003"]
    assert [row.id for row, rule in exact if not rule(row.target, row.target, row.level)] == []


def test_a_judge_url_without_a_judge_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--judge-model is needed"):
        followbench(model="m", url=["http://m/v1"], judge_url=["http://j/v1"], data=tmp_path, out=tmp_path / "out")


def test_a_missing_judge_is_refused_before_the_model_is_queried(tmp_path: Path) -> None:
    write_followbench(tmp_path)
    with pytest.raises(ConfigError, match="give the --judge-url"):
        followbench(model="m", url=["http://m/v1"], judge_model="j", data=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
