"""Examples: a prompt with a reference answer, which proves that its constraints can be met together."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from typing import Final

from spar_training.world.answer import Answer
from spar_training.world.prompt import Prompt, Split, draw_prompt
from spar_training.world.reference import NoReferenceError, write_reference

# Seeds alternate between the splits, so that no two splits share one.
_SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "held_out")
_STRIDE: Final = 1_000_003


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and one answer that passes all its checks."""

    prompt: Prompt
    reference: Answer


def draw_example(split: Split, index: int) -> Example:
    """Return the `index`-th example of a split; the same index always gives the same example.

    A prompt without a reference contradicts itself and is skipped.
    """
    for attempt in count():
        seed = 3 * (index + attempt * _STRIDE) + _SPLITS.index(split)
        prompt = draw_prompt(split, seed)
        try:
            return Example(prompt, write_reference(prompt, random.Random(seed ^ 0x5EED)))
        except NoReferenceError:
            continue
    raise AssertionError("unreachable: count() does not end")
