"""Prompts of a verifier bootstrap: tasks, constraints that go together, several wordings, and a split that holds."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from spar_core.checks import IFEVAL_IDS, build_check
from spar_training.bootstrap.verifiers.prompts.constrained import constrained_prompts, is_reserved, split_of
from spar_training.bootstrap.verifiers.prompts.constraints import draw_constraints
from spar_training.bootstrap.verifiers.prompts.phrasings import PHRASINGS, phrase
from spar_training.bootstrap.verifiers.prompts.tasks import collect_tasks, own_tasks, unsuited
from spar_training.prompt_evolution.contamination import Benchmarks
from spar_training.prompt_evolution.load import SeedPrompt

TASKS = own_tasks(600, seed=1)


def drawn(task: str, number: int) -> list[tuple[str, ...]]:
    return [tuple(c.id for c in draw_constraints(task, random.Random(f"x/{place}"))) for place in range(number)]


def test_every_type_is_drawn_alone_and_together_with_up_to_three_others() -> None:
    found = drawn("Does everybody like tea?", 3000)
    assert {id for ids in found for id in ids} == set(IFEVAL_IDS)
    assert {len(ids) for ids in found} == {1, 2, 3, 4}
    assert all(len(set(ids)) == len(ids) for ids in found)


def test_a_fixed_answer_is_only_required_of_yes_or_no_questions_and_never_combined() -> None:
    fixed = "detectable_format:constrained_response"
    assert all(fixed not in ids for ids in drawn("Write a poem about tea.", 500))
    assert {ids for ids in drawn("Does everybody like tea?", 2000) if fixed in ids} == {(fixed,)}


def test_constraints_that_no_answer_meets_together_are_not_drawn_together() -> None:
    pairs = {frozenset((a, b)) for ids in drawn("Write a poem about tea.", 4000) for a in ids for b in ids if a != b}
    for one, other in (
        ("change_case:english_lowercase", "change_case:english_capital"),
        ("detectable_format:json_format", "startend:quotation"),
        ("length_constraints:number_paragraphs", "length_constraints:nth_paragraph_first_word"),
        ("language:response_language", "keywords:existence"),
    ):
        assert frozenset((one, other)) not in pairs


def test_draws_depend_on_the_seed_alone() -> None:
    task = "Write a poem about tea."
    one, two = (draw_constraints(task, random.Random("a")) for _ in range(2))
    assert [(c.id, c.check.kwargs, c.wording) for c in one] == [(c.id, c.check.kwargs, c.wording) for c in two]


@pytest.mark.parametrize("id", IFEVAL_IDS)
def test_a_type_has_several_wordings_and_each_says_what_is_asked(id: str) -> None:
    assert len(PHRASINGS[id]) >= 3
    rng = random.Random(id)
    task = "Does everybody like tea?"
    constraint = next(
        c for place in range(5000) for c in draw_constraints(task, random.Random(f"{id}/{place}")) if c.id == id
    )
    wordings = {phrase(id, constraint.check.kwargs, rng) for _ in range(60)}
    assert len(wordings) >= 3
    for wording in wordings:
        assert "{" not in wording
        for name, value in constraint.check.kwargs.items():
            if name in ("keyword", "letter", "first_word", "postscript_marker", "section_spliter", "end_phrase"):
                assert value in wording
            if name in ("keywords", "forbidden_words"):
                assert all(word in wording for word in value)


def test_relations_are_worded_as_they_are_verified() -> None:
    kwargs = {"num_words": 40, "relation": "less than"}
    wordings = {phrase("length_constraints:number_words", kwargs, random.Random(n)) for n in range(80)}
    assert build_check("length_constraints:number_words", kwargs).find("word " * 40).passed is False
    assert all(any(form in one for form in ("fewer than 40", "less than 40", "under 40")) for one in wordings)


def test_validation_has_tasks_and_combinations_that_training_has_not() -> None:
    train = list(constrained_prompts(TASKS, "train", each=4, seed=1))
    validation = list(constrained_prompts(TASKS, "validation", each=4, seed=1))
    assert not {p.task.text for p in train} & {p.task.text for p in validation}
    assert not any(p.unseen for p in train)
    assert any(p.unseen for p in validation)
    assert all(p.unseen is is_reserved(p.constraints) for p in validation)
    shares = Counter(split_of(task) for task in TASKS)
    assert 0.05 < shares["validation"] / len(TASKS) < 0.2


def test_a_split_does_not_depend_on_what_else_there_is() -> None:
    whole = {p.id: p.text for p in constrained_prompts(TASKS, "train", each=2, seed=1)}
    part = {p.id: p.text for p in constrained_prompts(TASKS[::3], "train", each=2, seed=1)}
    assert part.items() <= whole.items()


def test_the_request_is_above_where_it_is_to_be_repeated() -> None:
    repeat = "combination:repeat_prompt"
    found = [
        p for p in constrained_prompts(TASKS, "train", each=4, seed=1) if any(c.id == repeat for c in p.constraints)
    ]
    assert found
    assert all(p.text.startswith(p.task.text) for p in found)


def test_a_prompt_carries_its_checks() -> None:
    prompt = next(constrained_prompts(TASKS, "train", each=1, seed=1))
    assert [check.id for check in prompt.record().verifiers()] == [c.id for c in prompt.constraints]
    assert prompt.record().conversation[0].text == prompt.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Tea?", "words"),
        ("Write a Python function that sorts numbers.", "code"),
        ("Summarize this article for me in one sentence.", "missing"),
        ("Escribe un poema sobre el otoño.", "English"),
        ("Write a poem about\n- tea\n- rain", "one sentence"),
    ],
)
def test_tasks_that_cannot_be_constrained_are_left_out(text: str, why: str) -> None:
    assert why in (unsuited(text) or "")


def test_tasks_come_once_and_none_from_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        '{"prompt": "Describe a walk in the fog."}\n{"prompt": "What is the best tea to buy?"}\n'
    )
    benchmarks = Benchmarks([SeedPrompt("bench:1", "What is the best tea to buy?", "bench")])
    base = [
        SeedPrompt("base:1", "Describe a walk in the fog!", "base"),
        SeedPrompt("base:2", "What do owls eat?", "base"),
    ]
    pool = collect_tasks([tmp_path / "mine.jsonl"], base, own=0, benchmarks=benchmarks, seed=1)
    assert [task.id for task in pool.tasks] == ["mine:1", "base:2"]
    assert pool.left_out == {"a duplicate": 1, "in a benchmark": 1}
