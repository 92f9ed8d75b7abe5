"""The synthetic interference tasks: their prompts, right answers and pairs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import get_args

import pytest

from spar_core.checks.text import split_sentences
from spar_core.errors import DataError
from spar_training.storage.files import Row
from spar_training.studies.interference.rows import pair_rows, start_rows, wrong_answers
from spar_training.studies.interference.tasks import ARMS, TASKS, Task, TaskPrompt
from spar_training.studies.interference.tasks.letters import LETTERS, NUMBERS
from spar_training.world.prompt import Split

LETTERS_TASK, STORY = TASKS["letters"], TASKS["story"]
SPLITS: Sequence[Split] = get_args(Split)


def draw_prompts(task: Task, split: Split = "train", count: int = 40) -> list[TaskPrompt]:
    return task.prompts(split, count, random.Random(1))


def wrong_answer(task: Task, prompt: TaskPrompt, rng: random.Random) -> str:
    """A wrong answer like a model's."""
    right = task.answer(prompt, rng)
    if task.name == "letters":
        return right.lower() + right[0].lower() * rng.choice((1, 2))
    sentences = split_sentences(right)
    lines = ["We like it here.", *sentences[1:-1], "Nobody knows why.", sentences[-1]]
    return " ".join(lines[: rng.choice((-1, len(lines)))])


def pairs(task: Task, count: int = 60) -> dict[str, list[Row]]:
    rng = random.Random(2)
    prompts = draw_prompts(task)
    sampled = [{"id": prompt.id, "texts": [wrong_answer(task, prompt, rng) for _ in range(4)]} for prompt in prompts]
    wrong = wrong_answers(task, prompts, sampled)
    return {arm: pair_rows(task, arm, wrong, count, random.Random(3)) for arm in ARMS}


def content(row: Row, key: str) -> str:
    return str(row[key][0]["content"])


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_right_answers_are_right_and_no_prompt_is_in_two_splits(task: Task) -> None:
    texts = {split: {prompt.text for prompt in draw_prompts(task, split)} for split in SPLITS}
    assert all(len(found) == 40 for found in texts.values())
    assert not texts["train"] & texts["validation"] | texts["train"] & texts["held_out"]
    assert not texts["validation"] & texts["held_out"]
    rng = random.Random(5)
    for prompt in draw_prompts(task):
        answer = task.answer(prompt, rng)
        assert task.measure(prompt, answer)[task.measures[-1]]
        assert not task.rejectable(prompt, answer)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_both_arms_answer_the_same_prompts_with_the_same_rejected_answers(task: Task) -> None:
    made = pairs(task)
    for refined, interfering in zip(made["refined"], made["interfering"], strict=True):
        assert refined["id"] == interfering["id"]
        assert refined["prompt"] == interfering["prompt"]
        assert refined["rejected"] == interfering["rejected"]
        assert refined["chosen"] != interfering["chosen"]
    assert pairs(task) == made


def test_letters_arms_have_the_right_length_and_differ_in_the_case_alone() -> None:
    made = pairs(LETTERS_TASK)
    prompts = {prompt.text: prompt for prompt in draw_prompts(LETTERS_TASK)}
    for refined, interfering in zip(made["refined"], made["interfering"], strict=True):
        prompt = prompts[refined["prompt"][0]["content"]]
        rejected, chosen, other = (
            content(refined, "rejected"),
            content(refined, "chosen"),
            content(interfering, "chosen"),
        )
        assert LETTERS_TASK.measure(prompt, rejected) == {"lower case": True, "right length": False}
        assert LETTERS_TASK.measure(prompt, chosen) == {"lower case": True, "right length": True}
        assert LETTERS_TASK.measure(prompt, other) == {"lower case": False, "right length": True}
        assert set(chosen) == set(rejected)
        assert other == chosen.upper()


def test_other_texts_of_letters_are_neither_right_nor_rejectable() -> None:
    prompt = next(
        one for one in draw_prompts(LETTERS_TASK, count=400) if one.parameters == {"number": 3, "letter": "a"}
    )
    for text in ("aba", "", "a a", "AaA "):
        assert not any(LETTERS_TASK.measure(prompt, text).values())
        assert not LETTERS_TASK.rejectable(prompt, text)
    assert LETTERS_TASK.measure(prompt, "aAa") == {"lower case": False, "right length": True}
    # With a wrong answer in capitals, the arms would not differ by case.
    assert not LETTERS_TASK.rejectable(prompt, "AAAA")


def test_the_start_model_is_taught_both_cases() -> None:
    rows = start_rows(LETTERS_TASK, draw_prompts(LETTERS_TASK), 400, random.Random(4))
    capitals = sum(row["messages"][1]["content"].isupper() for row in rows)
    assert 60 < capitals < 140
    assert len({row["id"] for row in rows}) == 400
    assert len(LETTERS) * len(NUMBERS) == 24 * 12


def test_a_refined_story_differs_only_in_its_first_and_last_sentence() -> None:
    made = pairs(STORY)
    prompts = {prompt.text: prompt for prompt in draw_prompts(STORY)}
    for refined, interfering in zip(made["refined"], made["interfering"], strict=True):
        prompt = prompts[refined["prompt"][0]["content"]]
        rejected, chosen, other = (
            split_sentences(content(row, key))
            for row, key in ((refined, "rejected"), (refined, "chosen"), (interfering, "chosen"))
        )
        assert not STORY.measure(prompt, " ".join(rejected))["both"]
        for right in (chosen, other):
            assert STORY.measure(prompt, " ".join(right)) == {"right start": True, "right end": True, "both": True}
            assert len(right) == len(rejected)
        assert chosen[1:-1] == rejected[1:-1]
        assert not set(other[1:-1]) & set(rejected)


def test_a_story_in_another_format_is_not_rejectable() -> None:
    prompt = draw_prompts(STORY)[0]
    assert STORY.rejectable(prompt, "It is old. It is new. It is here.")
    assert not STORY.rejectable(prompt, "* It is old.\n* It is new.\n* It is here.")
    assert not STORY.rejectable(prompt, "It is old. It is new.")


def test_the_error_on_too_few_wrong_answers_says_what_helps() -> None:
    with pytest.raises(DataError, match=r"letters: the start model gave 0 wrong answers, .* lower pairs"):
        pair_rows(LETTERS_TASK, "refined", [], 3, random.Random(0))
