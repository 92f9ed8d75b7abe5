"""Training conversations of the world: an answer for the actor; a judgement and a refinement for the refiner.

The refiner's prompts are rendered by `spar_core.prompts`, so they are byte for byte those of serving.
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
    """A prompt with its reference answer. Deterministic in (`split`, `index`)."""
    example = draw_example(split, index)
    return (Message("user", example.prompt.text), Message("assistant", example.reference.render()))


@dataclass(frozen=True, slots=True)
class RefinerSample:
    """`source` is what the last message would be if it refined nothing; None when that message is the judgement."""

    conversation: Conversation
    source: str | None


def refiner_sample(split: Split, index: int, templates: Templates) -> RefinerSample:
    """A judgement of a good or a broken answer; a broken one is followed by its minimal refinement."""
    example = draw_example(split, index)
    rng = random.Random(index)
    return judged(example.prompt, draw_response(example, rng), rng, templates)


def draw_response(example: Example, rng: random.Random) -> str:
    """The reference itself, or a near miss of it."""
    if rng.random() < _GOOD_SHARE:
        return example.reference.render()
    broken = near_miss(example.prompt, example.reference, rng, broken=rng.choice(_BROKEN_COUNTS))
    return (broken or example.reference).render()


def judged(prompt: Prompt, response: str, rng: random.Random, templates: Templates) -> RefinerSample:
    """The judge conversation on `response` with its true critique, then its smallest refinement if it fails a check."""
    conversation = (Message("user", prompt.text),)
    critique = write_critique(prompt.checks, response)
    passed = all(finding.passed for finding in verify(prompt.checks, response))
    refined = None if passed else repair(prompt, response, rng)
    if refined is None:
        return RefinerSample((*templates.judge(conversation, response), Message("assistant", critique)), None)
    turns = templates.refine(conversation, response, critique)
    return RefinerSample((*turns, Message("assistant", _marked(refined))), _marked(response))


def _marked(text: str) -> str:
    return f"[[start]]\n{text}\n[[end]]"
