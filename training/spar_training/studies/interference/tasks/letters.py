"""A number of copies of a letter: a wrong answer has another number, and the interfering right one is in capitals.

The case is open, and the start model is taught both. So a lower-case answer with the wrong number is corrected by
removing or adding letters, and the interfering chosen answer differs in case as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Final

from spar_training.studies.interference.tasks.base import TaskPrompt, split_of
from spar_training.world.prompt import Split

NUMBERS: Final = range(3, 15)
# The shipped pair's tokenizer merges repetitions of these two letters; every other copy of a letter is one token.
LETTERS: Final = ascii_lowercase.replace("e", "").replace("l", "")
_CAPITALS: Final = 0.25


class Letters:
    """The task's prompts are all pairs of a number and a letter."""

    name: Final = "letters"
    measures: Final[Sequence[str]] = ("lower case", "right length")

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[TaskPrompt]:
        prompts = [
            TaskPrompt(f"{number}{letter}", f"Write exactly {number} copies of the letter {letter}.",
                  {"number": number, "letter": letter})
            for number in NUMBERS
            for letter in LETTERS
            if split_of(f"{number}{letter}") == split
        ]  # fmt: skip
        return rng.sample(prompts, min(count, len(prompts)))

    def answer(self, prompt: TaskPrompt, rng: random.Random) -> str:
        right = _right(prompt)
        return right.upper() if rng.random() < _CAPITALS else right

    def measure(self, prompt: TaskPrompt, text: str) -> dict[str, bool]:
        copies = set(text.lower()) == {prompt.parameters["letter"]}
        return {
            "lower case": copies and text.islower(),
            "right length": copies and len(text) == prompt.parameters["number"],
        }

    def rejectable(self, prompt: TaskPrompt, text: str) -> bool:
        return self.measure(prompt, text) == {"lower case": True, "right length": False}

    def refined(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        return _right(prompt)

    def interfering(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        return _right(prompt).upper()


def _right(prompt: TaskPrompt) -> str:
    return str(prompt.parameters["letter"]) * int(prompt.parameters["number"])
