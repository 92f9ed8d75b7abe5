"""A story with a given first and a given last sentence: the interfering right answer is another story.

The stories are of the small world. A story that misses one of the sentences, or both, is mended by putting it in the
place of the one that stands there; the interfering chosen answer is as long, and has no sentence between the two in
common with the rejected one.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from typing import Final

from spar_core.checks.text import split_sentences
from spar_training.studies.interference.tasks.base import Asked, split_of
from spar_training.world import lexicon
from spar_training.world.prompt import Split
from spar_training.world.reference import fill

_MIDDLES: Final = (1, 2, 3)
# Something has to stand between the two for a story to be another one.
_FEWEST: Final = 3


class Story:
    """A prompt's parameters are its subject and the two sentences."""

    name: Final = "story"
    measures: Final[Sequence[str]] = ("right start", "right end", "both")

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[Asked]:
        found: dict[str, Asked] = {}
        while len(found) < count:
            subject = rng.choice(lexicon.SUBJECTS)
            first = fill(rng.choice(lexicon.SUBJECT_LINES[subject]), subject, rng)
            last = fill(rng.choice(lexicon.NOUN_LINES), subject, rng)
            if split_of(f"{first} {last}") == split:
                found[f"{first} {last}"] = Asked(
                    f"{split}-{len(found)}",
                    f"Write a short story about the {subject}. "
                    f"Start with the sentence {first} End with the sentence {last}",
                    {"subject": subject, "first": first, "last": last},
                )
        return list(found.values())

    def answer(self, asked: Asked, rng: random.Random) -> str:
        return self._told(asked, rng.choice(_MIDDLES), (), rng)

    def measure(self, asked: Asked, text: str) -> dict[str, bool]:
        starts = text.startswith(str(asked.parameters["first"]))
        ends = text.endswith(str(asked.parameters["last"]))
        return {"right start": starts, "right end": ends, "both": starts and ends}

    def rejectable(self, asked: Asked, text: str) -> bool:
        sentences = split_sentences(text)
        # A text in paragraphs or points would have to change in more than a sentence.
        return (
            not self.measure(asked, text)["both"] and len(sentences) >= _FEWEST and " ".join(sentences) == text
        )  # fmt: skip

    def refined(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        return " ".join(
            [str(asked.parameters["first"]), *split_sentences(rejected)[1:-1], str(asked.parameters["last"])]
        )

    def interfering(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        sentences = split_sentences(rejected)
        return self._told(asked, len(sentences) - 2, sentences, rng)

    def _told(self, asked: Asked, middles: int, without: Container[str], rng: random.Random) -> str:
        """A right story with `middles` sentences between the two, none of them of `without`."""
        subject, first, last = (str(asked.parameters[key]) for key in ("subject", "first", "last"))
        lines = [*lexicon.SUBJECT_LINES[subject], *lexicon.NOUN_LINES]
        between: list[str] = []
        while len(between) < middles:
            sentence = fill(rng.choice(lines), subject, rng)
            if sentence not in without and sentence not in (first, last, *between):
                between.append(sentence)
        return " ".join([first, *between, last])
