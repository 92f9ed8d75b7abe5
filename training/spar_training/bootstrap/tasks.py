"""The training tasks as rows of tokens: copying, answering, judging and refining.

A row is (input ids, loss weights) of equal length; tokens of weight 0 are no targets. In a refinement, edited tokens
weigh more than copied ones. Nearly all tokens are copied, so with equal weights a model that copies everything would
have nearly the lowest loss.
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
    """The rows of all tasks; each depends only on its split and index."""

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
        """The tokens of the chat template; the targets are the assistant's messages with their end tokens."""
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
            # The row ends with the last message and its end token.
            first = len(ids) - 1 - len(refined)
            for place in edit_positions(self._tokens(sample.source), refined):
                weights[first + place] = _DEPARTURE_WEIGHT
        return ids, weights

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _own(self, rng: random.Random) -> RefinerSample:
        """One of the actor's answers with its correct critique and, if it fails, its smallest correct refinement."""
        good = rng.random() < _OWN_GOOD_SHARE
        return self._judged_answer(rng.choice(self._answers[good] or self._answers[not good]))

    def _judged_answer(self, own: OwnAnswer) -> RefinerSample:
        """Cached, because finding a refinement takes longer than a training step."""
        if own not in self._samples:
            prompt = draw_example("train", own.index).prompt
            self._samples[own] = judge_sample(prompt, own.text, random.Random(own.index), self.templates)
        return self._samples[own]

    @cached_property
    def _answers(self) -> dict[bool, list[OwnAnswer]]:
        """The actor's answers, by whether they pass."""
        return {wanted: [own for own in self.own_answers if own.passed is wanted] for wanted in (True, False)}

    def _copy(self, rng: random.Random) -> Row:
        """Random tokens and a copy of them, which only copying can predict."""
        first = len(SPECIAL_TOKENS)
        body = [rng.randrange(first, len(self.tokenizer)) for _ in range(rng.randint(*COPY_LENGTHS))]
        ids = [self._id(BOS), self._id("<|user|>"), *body, self._id(END)]
        ids += [self._id("<|assistant|>"), *body, self._id(END)]
        return ids, [0.0] * (len(body) + 4) + [1.0] * (len(body) + 1)

    def _id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))
