"""Rows to train on: right answers for the start model, and pairs of both arms from its wrong answers.

A pair of one arm has its twin in the other: the same prompt and the same rejected answer, in the same place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from spar_core.errors import DataError
from spar_training.storage.files import Row
from spar_training.studies.interference.tasks.base import Arm, Asked, Task


def start_rows(task: Task, prompts: Sequence[Asked], count: int, rng: random.Random) -> list[Row]:
    """`count` right answers to the prompts in turn."""
    rows: list[Row] = []
    for number in range(count):
        asked = prompts[number % len(prompts)]
        answer = {"role": "assistant", "content": task.answer(asked, rng)}
        rows.append({"id": f"{asked.id}/{number}", "messages": [*_turns(asked), answer]})
    return rows


def wrong_answers(task: Task, prompts: Sequence[Asked], sampled: Sequence[Row]) -> list[tuple[Asked, str]]:
    """The answers that can be rejected, each as often as it was given; rows are of a prompt's `id` and its `texts`."""
    by_id = {asked.id: asked for asked in prompts}
    return [
        (by_id[row["id"]], text) for row in sampled for text in row["texts"] if task.rejectable(by_id[row["id"]], text)
    ]


def pair_rows(task: Task, arm: Arm, wrong: Sequence[tuple[Asked, str]], count: int, rng: random.Random) -> list[Row]:
    """`count` pairs of an arm, each of another wrong sample; generators that are alike give both arms the same ones.

    Raises:
        DataError: there are fewer wrong answers.
    """
    if len(wrong) < count:
        raise DataError(
            f"{task.name}: the start model gave {len(wrong)} wrong answers to make pairs of, and {count} are "
            "asked for; lower pairs, raise prompts or tries, or train the start model for fewer steps"
        )
    drawn = rng.sample(list(wrong), count)
    mend = task.refined if arm == "refined" else task.interfering
    return [
        {
            "id": f"{asked.id}/{number}",
            "prompt": _turns(asked),
            "chosen": [{"role": "assistant", "content": mend(asked, text, rng)}],
            "rejected": [{"role": "assistant", "content": text}],
        }
        for number, (asked, text) in enumerate(drawn)
    ]


def _turns(asked: Asked) -> list[Row]:
    return [{"role": "user", "content": asked.text}]
