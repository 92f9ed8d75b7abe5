"""A story with a given first and last sentence: the interfering right answer is another story.

The stories are from the synthetic world. A story that lacks one or both of the sentences is corrected by replacing its
first and last sentence; the interfering chosen answer has the same length and shares no sentence in between with the
rejected one.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from typing import Final

from spar_core.checks.text import split_sentences
from spar_training.studies.interference.tasks.base import TaskPrompt, split_of
from spar_training.world import lexicon
from spar_training.world.prompt import Split
from spar_training.world.reference import fill

_MIDDLES: Final = (1, 2, 3)
# Stories can only differ if there is a sentence between the first and the last.
_MIN_SENTENCES: Final = 3


class Story:
    """A prompt's parameters are its subject and the two sentences."""

    name: Final = "story"
    measures: Final[Sequence[str]] = ("right start", "right end", "both")

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[TaskPrompt]:
        found: dict[str, TaskPrompt] = {}
        while len(found) < count:
            subject = rng.choice(lexicon.SUBJECTS)
            first = fill(rng.choice(lexicon.SUBJECT_LINES[subject]), subject, rng)
            last = fill(rng.choice(lexicon.NOUN_LINES), subject, rng)
            if split_of(f"{first} {last}") == split:
                found[f"{first} {last}"] = TaskPrompt(
                    f"{split}-{len(found)}",
                    f"Write a short story about the {subject}. "
                    f"Start with the sentence {first} End with the sentence {last}",
                    {"subject": subject, "first": first, "last": last},
                )
        return list(found.values())

    def answer(self, prompt: TaskPrompt, rng: random.Random) -> str:
        return self._story(prompt, rng.choice(_MIDDLES), (), rng)

    def measure(self, prompt: TaskPrompt, text: str) -> dict[str, bool]:
        starts = text.startswith(str(prompt.parameters["first"]))
        ends = text.endswith(str(prompt.parameters["last"]))
        return {"right start": starts, "right end": ends, "both": starts and ends}

    def rejectable(self, prompt: TaskPrompt, text: str) -> bool:
        sentences = split_sentences(text)
        # In a text with paragraphs or bullet points, more than a sentence would have to change.
        return (
            not self.measure(prompt, text)["both"] and len(sentences) >= _MIN_SENTENCES and " ".join(sentences) == text
        )  # fmt: skip

    def refined(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        return " ".join(
            [str(prompt.parameters["first"]), *split_sentences(rejected)[1:-1], str(prompt.parameters["last"])]
        )

    def interfering(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        sentences = split_sentences(rejected)
        return self._story(prompt, len(sentences) - 2, sentences, rng)

    def _story(self, prompt: TaskPrompt, middles: int, without: Container[str], rng: random.Random) -> str:
        """Write a right story with `middles` sentences between the two, none of which is in `without`."""
        subject, first, last = (str(prompt.parameters[key]) for key in ("subject", "first", "last"))
        lines = [*lexicon.SUBJECT_LINES[subject], *lexicon.NOUN_LINES]
        between: list[str] = []
        while len(between) < middles:
            sentence = fill(rng.choice(lines), subject, rng)
            if sentence not in without and sentence not in (first, last, *between):
                between.append(sentence)
        return " ".join([first, *between, last])
