"""So many copies of a letter: a wrong answer has another number, the interfering right one is in capitals.

The case is free, and the start model is taught both. So a lower-case answer with the wrong number is mended by removing
or adding letters, and the interfering chosen answer differs in the case besides.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Final

from spar_training.studies.interference.tasks.base import Asked, split_of
from spar_training.world.prompt import Split

NUMBERS: Final = range(3, 15)
# The embedded pair's tokenizer merges these two with themselves; of every other letter a copy is a token.
LETTERS: Final = ascii_lowercase.replace("e", "").replace("l", "")
_CAPITALS: Final = 0.25


class Letters:
    """The task's prompts are all pairs of a number and a letter."""

    name: Final = "letters"
    measures: Final[Sequence[str]] = ("lower case", "right length")

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[Asked]:
        owned = [
            Asked(f"{number}{letter}", f"Write exactly {number} copies of the letter {letter}.",
                  {"number": number, "letter": letter})
            for number in NUMBERS
            for letter in LETTERS
            if split_of(f"{number}{letter}") == split
        ]  # fmt: skip
        return rng.sample(owned, min(count, len(owned)))

    def answer(self, asked: Asked, rng: random.Random) -> str:
        right = _right(asked)
        return right.upper() if rng.random() < _CAPITALS else right

    def measure(self, asked: Asked, text: str) -> dict[str, bool]:
        copies = set(text.lower()) == {asked.parameters["letter"]}
        return {
            "lower case": copies and text.islower(),
            "right length": copies and len(text) == asked.parameters["number"],
        }

    def rejectable(self, asked: Asked, text: str) -> bool:
        return self.measure(asked, text) == {"lower case": True, "right length": False}

    def refined(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        return _right(asked)

    def interfering(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        return _right(asked).upper()


def _right(asked: Asked) -> str:
    return str(asked.parameters["letter"]) * int(asked.parameters["number"])
