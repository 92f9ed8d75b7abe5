"""Training rows: right answers for the start model, and the pairs of both arms from its wrong answers.

Each pair of one arm has a counterpart in the other, in the same position with the same prompt and rejected answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from spar_core.errors import DataError
from spar_training.storage.files import Row
from spar_training.studies.interference.tasks.base import Arm, Task, TaskPrompt


def start_rows(task: Task, prompts: Sequence[TaskPrompt], count: int, rng: random.Random) -> list[Row]:
    """Build `count` rows of right answers, cycling through the prompts."""
    rows: list[Row] = []
    for number in range(count):
        prompt = prompts[number % len(prompts)]
        answer = {"role": "assistant", "content": task.answer(prompt, rng)}
        rows.append({"id": f"{prompt.id}/{number}", "messages": [*_turns(prompt), answer]})
    return rows


def wrong_answers(task: Task, prompts: Sequence[TaskPrompt], sampled: Sequence[Row]) -> list[tuple[TaskPrompt, str]]:
    """List the answers that can be rejected, including repetitions, from rows of a prompt's `id` and its `texts`."""
    by_id = {prompt.id: prompt for prompt in prompts}
    return [
        (by_id[row["id"]], text) for row in sampled for text in row["texts"] if task.rejectable(by_id[row["id"]], text)
    ]


def pair_rows(
    task: Task, arm: Arm, wrong: Sequence[tuple[TaskPrompt, str]], count: int, rng: random.Random
) -> list[Row]:
    """Build `count` pairs of an arm, each from a different wrong answer; equal generators give both arms the same ones.

    Raises:
        DataError: there are too few wrong answers.
    """
    if len(wrong) < count:
        raise DataError(
            f"{task.name}: the start model gave {len(wrong)} wrong answers, but {count} pairs are needed; "
            "lower pairs, raise prompts or tries, or train the start model for fewer steps"
        )
    selected = rng.sample(list(wrong), count)
    choose = task.refined if arm == "refined" else task.interfering
    return [
        {
            "id": f"{prompt.id}/{number}",
            "prompt": _turns(prompt),
            "chosen": [{"role": "assistant", "content": choose(prompt, text, rng)}],
            "rejected": [{"role": "assistant", "content": text}],
        }
        for number, (prompt, text) in enumerate(selected)
    ]


def _turns(prompt: TaskPrompt) -> list[Row]:
    return [{"role": "user", "content": prompt.text}]
