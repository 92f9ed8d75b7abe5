"""What the model is trained on, as token rows: copying, answering, judging and refining.

A row is (input ids, loss weights) of equal length; a weight of 0 is no target. In a refinement, the tokens at
which it departs from the response weigh more: nearly all the others are copied, and a loss that
counts every token alike is nearly lowest for a model that copies everything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from transformers import PreTrainedTokenizerFast

from spar_core.prompts import Templates
from spar_training.bootstrap.answers import OwnAnswer
from spar_training.bootstrap.recipe import TaskName
from spar_training.bootstrap.tokenizer import BOS, END, SPECIAL_TOKENS
from spar_training.trainers.tokenize import edit_positions
from spar_training.world.example import draw_example
from spar_training.world.prompt import Split
from spar_training.world.samples import Conversation, RefinerSample, actor_sample, judge_sample, refiner_sample

Row = tuple[list[int], list[float]]

COPY_LENGTHS: Final = (4, 32)
_OWN_GOOD_SHARE: Final = 0.35
_DEPARTURE_WEIGHT: Final = 5.0


@dataclass(frozen=True)
class Tasks:
    """Rows of every task, each a pure function of (split, index)."""

    tokenizer: PreTrainedTokenizerFast
    templates: Templates
    own_answers: Sequence[OwnAnswer] = ()
    _samples: dict[OwnAnswer, RefinerSample] = field(default_factory=dict)

    def row(self, task: TaskName, split: Split, index: int) -> Row:
        if task == "copy":
            return self._copy(random.Random(f"copy-{split}-{index}"))
        if task == "own":
            return self._judged(self._own(random.Random(f"own-{index}")))
        if task == "actor":
            return self.encode(actor_sample(split, index))
        return self._judged(refiner_sample(split, index, self.templates))

    def encode(self, conversation: Conversation) -> Row:
        """The chat template's tokens; what the assistant says, with its end mark, is the target."""
        ids: list[int] = [self._id(BOS)]
        weights = [0.0]
        for message in conversation:
            body = self._tokens(message.text)
            ids += [self._id(f"<|{message.role}|>"), *body, self._id(END)]
            weights += [0.0, *([float(message.role == "assistant")] * (len(body) + 1))]
        return ids, weights

    def _judged(self, sample: RefinerSample) -> Row:
        ids, weights = self.encode(sample.conversation)
        if sample.source is not None:
            refined = self._tokens(sample.conversation[-1].text)
            # The last message and its end mark are the row's last tokens.
            first = len(ids) - 1 - len(refined)
            for place in edit_positions(self._tokens(sample.source), refined):
                weights[first + place] = _DEPARTURE_WEIGHT
        return ids, weights

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _own(self, rng: random.Random) -> RefinerSample:
        """One of the actor's answers with its true critique and, if it fails, its smallest true refinement."""
        good = rng.random() < _OWN_GOOD_SHARE
        return self._mended(rng.choice(self._answers[good] or self._answers[not good]))

    def _mended(self, own: OwnAnswer) -> RefinerSample:
        """Each answer is mended once: that takes longer than a training step has."""
        if own not in self._samples:
            prompt = draw_example("train", own.index).prompt
            self._samples[own] = judge_sample(prompt, own.text, random.Random(own.index), self.templates)
        return self._samples[own]

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
        return ids, [0.0] * (len(body) + 4) + [1.0] * (len(body) + 1)

    def _id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))
