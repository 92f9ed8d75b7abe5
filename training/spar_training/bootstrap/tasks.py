"""What the model is trained on, as token rows: copying, answering, judging and refining.

A row is (input ids, is_target flags) of equal length; the loss is taken on targets only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from transformers import PreTrainedTokenizerFast

from spar_core.prompts import Templates
from spar_core.types import Message
from spar_training.bootstrap.answers import OwnAnswer
from spar_training.bootstrap.recipe import TaskName
from spar_training.bootstrap.tokenizer import BOS, END, SPECIAL_TOKENS
from spar_training.world.example import draw_example
from spar_training.world.prompt import Split
from spar_training.world.samples import Conversation, actor_sample, judged, refiner_sample

Row = tuple[list[int], list[bool]]

COPY_LENGTHS: Final = (4, 32)
_OWN_GOOD_SHARE: Final = 0.35


@dataclass(frozen=True)
class Tasks:
    """Rows of every task, each a pure function of (split, index)."""

    tokenizer: PreTrainedTokenizerFast
    templates: Templates
    own_answers: Sequence[OwnAnswer] = ()
    _conversations: dict[OwnAnswer, Conversation] = field(default_factory=dict)

    def row(self, task: TaskName, split: Split, index: int) -> Row:
        if task == "copy":
            return self._copy(random.Random(f"copy-{split}-{index}"))
        if task == "own":
            return self.encode(self._own(random.Random(f"own-{index}")))
        if task == "actor":
            return self.encode(actor_sample(split, index))
        return self.encode(refiner_sample(split, index, self.templates))

    def encode(self, conversation: tuple[Message, ...]) -> Row:
        """The chat template's tokens; what the assistant says, with its end mark, is the target."""
        ids: list[int] = [self._id(BOS)]
        target = [False]
        for message in conversation:
            body = self.tokenizer.encode(message.text, add_special_tokens=False)
            says = message.role == "assistant"
            ids += [self._id(f"<|{message.role}|>"), *body, self._id(END)]
            target += [False, *([says] * (len(body) + 1))]
        return ids, target

    def _own(self, rng: random.Random) -> Conversation:
        """One of the actor's answers with its true critique and, if it fails, its smallest true refinement."""
        good = rng.random() < _OWN_GOOD_SHARE
        return self._mended(rng.choice(self._answers[good] or self._answers[not good]))

    def _mended(self, own: OwnAnswer) -> Conversation:
        """Each answer is mended once: that takes longer than a training step has."""
        if own not in self._conversations:
            prompt = draw_example("train", own.index).prompt
            self._conversations[own] = judged(prompt, own.text, random.Random(own.index), self.templates)
        return self._conversations[own]

    @cached_property
    def _answers(self) -> dict[bool, list[OwnAnswer]]:
        """The own answers by whether they pass."""
        return {wanted: [own for own in self.own_answers if own.passed is wanted] for wanted in (True, False)}

    def _copy(self, rng: random.Random) -> Row:
        """Random tokens, then the same again: a string of any tokens, so that only copying can solve it."""
        first = len(SPECIAL_TOKENS)
        body = [rng.randrange(first, len(self.tokenizer)) for _ in range(rng.randint(*COPY_LENGTHS))]
        ids = [self._id(BOS), self._id("<|user|>"), *body, self._id(END)]
        ids += [self._id("<|assistant|>"), *body, self._id(END)]
        target = [False] * (len(body) + 4) + [True] * (len(body) + 1)
        return ids, target

    def _id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))
