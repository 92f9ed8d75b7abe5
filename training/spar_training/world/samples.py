"""Training conversations of the world: an answer for the actor; a judgement and a refinement for the refiner.

The refiner's prompts are rendered by `spar_core.prompts`, so they match those of serving byte for byte.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from spar_core.checks import verify
from spar_core.prompts import Templates
from spar_core.types import Message
from spar_training.world.critique import write_critique
from spar_training.world.example import Example, draw_example
from spar_training.world.near_miss import near_miss
from spar_training.world.prompt import Prompt, Split
from spar_training.world.repair import repair

Conversation = tuple[Message, ...]

_GOOD_SHARE: Final = 0.35
_BROKEN_COUNTS: Final = (1, 1, 1, 2, 2, 4)


def actor_sample(split: Split, index: int) -> Conversation:
    """Return a prompt with its reference answer, always the same for the same `split` and `index`."""
    example = draw_example(split, index)
    return (Message("user", example.prompt.text), Message("assistant", example.reference.render()))


@dataclass(frozen=True, slots=True)
class RefinerSample:
    """A conversation that ends in a judgement, or in a refinement after it.

    `source` is the last message as it would be if nothing were refined; None if that message is the judgement.
    """

    conversation: Conversation
    source: str | None


def refiner_sample(split: Split, index: int, templates: Templates) -> RefinerSample:
    """Return a judgement of a good or a broken answer; a broken one is followed by its minimal refinement."""
    example = draw_example(split, index)
    rng = random.Random(index)
    return judge_sample(example.prompt, draw_response(example, rng), rng, templates)


def draw_response(example: Example, rng: random.Random) -> str:
    """Draw the reference itself or a near miss of it."""
    if rng.random() < _GOOD_SHARE:
        return example.reference.render()
    broken = near_miss(example.prompt, example.reference, rng, broken=rng.choice(_BROKEN_COUNTS))
    return (broken or example.reference).render()


def judge_sample(prompt: Prompt, response: str, rng: random.Random, templates: Templates) -> RefinerSample:
    """Judge `response` by its ground-truth critique; if it fails a check, add its smallest refinement."""
    conversation = (Message("user", prompt.text),)
    critique = write_critique(prompt.checks, response)
    passed = all(finding.passed for finding in verify(prompt.checks, response))
    refined = None if passed else repair(prompt, response, rng)
    if refined is None:
        return RefinerSample((*templates.judge(conversation, response), Message("assistant", critique)), None)
    turns = templates.refine(conversation, response, critique)
    return RefinerSample((*turns, Message("assistant", _delimited(refined))), _delimited(response))


def _delimited(text: str) -> str:
    return f"[[start]]\n{text}\n[[end]]"
