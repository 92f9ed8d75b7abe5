"""Training rows of a verifier bootstrap: what is said in them is true, and reads as it is served."""

from __future__ import annotations

import pytest

from spar_core.checks import verify
from spar_core.prompts import load_templates
from spar_core.refiner import extract_refined
from spar_core.verdict import parse_verdict
from spar_training.bootstrap.verifiers.data.dataset import actor_rows
from spar_training.bootstrap.verifiers.data.rows import (
    Answer,
    Example,
    actor_row,
    echoes,
    examples,
    judgement_row,
    refinement_row,
)
from spar_training.bootstrap.verifiers.prompts.constrained import ConstrainedPrompt, constrained_prompts
from spar_training.bootstrap.verifiers.prompts.tasks import own_tasks
from spar_training.bootstrap.verifiers.recipe import load_verifier_recipe
from spar_training.trainers.rows import sft_problem

PROMPTS = list(constrained_prompts(own_tasks(120, seed=1), "train", each=3, seed=1))
TEXT = (
    "It was a cold day, and nobody was about. A man came along the road with a bag. He had walked for a week.\n\n"
    "At the end of the road there was a house. He knocked, and a woman let him in. They talked until morning."
)
TEMPLATES = load_templates("brief")


ANSWERS = [
    Answer(prompt.id, place, TEXT.replace("house", f"house {place}"), False) for prompt in PROMPTS for place in (0, 1)
]
RECIPE = load_verifier_recipe("smollm2-135m")


def made(crossed: int = 2) -> list[Example]:
    return list(examples(PROMPTS, ANSWERS, crossed=crossed, seed=1))


EXAMPLES = made()


def test_an_answer_is_judged_under_its_own_prompt_and_under_others_of_its_task() -> None:
    own = [e for e in EXAMPLES if e.answer.prompt_id == e.prompt.id]
    other = [e for e in EXAMPLES if e.answer.prompt_id != e.prompt.id]
    assert own
    assert other
    assert all(e.prompt.task.id == e.answer.prompt_id.rpartition("/")[0] for e in other)
    assert not any(e.answer.prompt_id != e.prompt.id for e in made(crossed=0))


def test_what_is_taught_is_true() -> None:
    for example in EXAMPLES:
        if example.refined is not None:
            assert all(finding.passed for finding in verify(example.checks, example.refined))
        for of in ("answer", "refined"):
            row = judgement_row(example, TEMPLATES, of=of)
            if row is not None:
                text = example.text if of == "answer" else example.refined
                assert text is not None
                truth = all(finding.passed for finding in verify(example.checks, text))
                assert parse_verdict(row["messages"][-1]["content"], text) is truth is row["verdict"]


def test_rows_are_trainable_and_read_as_they_are_served() -> None:
    refined = 0
    for example in EXAMPLES:
        rows = [actor_row(example), judgement_row(example, TEMPLATES, of="answer"), refinement_row(example, TEMPLATES)]
        for row in rows:
            assert row is None or sft_problem(row) is None
        if (row := rows[2]) is not None:
            turns = row["messages"]
            asked = TEMPLATES.refine(example.prompt.record().conversation, example.text, turns[1]["content"])
            assert [turn["content"] for turn in turns[:-1]] == [message.text for message in asked]
            assert extract_refined(turns[-1]["content"], example.text).text == example.refined
            assert example.text.strip() in row["source_text"]
            refined += 1
    assert refined > 100


def test_an_answer_that_passes_is_not_refined_and_is_the_actors_own_words() -> None:
    passed = [example for example in EXAMPLES if example.passed]
    assert passed
    for example in passed:
        assert refinement_row(example, TEMPLATES) is None
        row = actor_row(example)
        assert row is None or row["messages"][-1]["content"] == example.text


def prompt_with(id: str) -> ConstrainedPrompt:
    return next(p for p in PROMPTS if [c.id for c in p.constraints] == [id])


def test_an_answer_that_repeats_the_request_is_no_row_for_the_actor() -> None:
    prompt = prompt_with("punctuation:no_comma")
    assert echoes(prompt, f"Sure. {prompt.constraints[0].wording} Here it is.")
    assert echoes(prompt, f"{prompt.task.text} That is a good one.")
    assert not echoes(prompt, TEXT)
    titled = prompt_with("startend:end_checker")
    assert not echoes(titled, f"{TEXT} {titled.constraints[0].check.kwargs['end_phrase']}")
    repeat = prompt_with("combination:repeat_prompt")
    assert not echoes(repeat, f"{repeat.task.text}\n\nHere it is.")


@pytest.mark.parametrize("text", ["", "no end", "I would like to drink a cup of tea. " * 9])
def test_texts_of_no_use_are_left_out(text: str) -> None:
    prompt = PROMPTS[0]
    assert not list(examples([prompt], [Answer(prompt.id, 0, text, True)], crossed=0, seed=1))


def test_an_actor_learns_no_answer_that_was_made_for_other_constraints() -> None:
    assert {example.own_prompt for example in EXAMPLES} == {True, False}
    taught = {row["id"] for row in actor_rows(PROMPTS, ANSWERS, RECIPE).rows}
    assert taught
    assert taught <= {f"{example.id}/actor" for example in EXAMPLES if example.own_prompt}
