"""Minimal true refinements of any text of the world."""

from __future__ import annotations

import difflib
import random

from spar_core.checks import verify
from spar_training.world.example import draw_example
from spar_training.world.near_miss import near_miss
from spar_training.world.repair import read_answer, repair

SIZE = 150


def test_a_text_reads_back_into_the_structure_it_was_rendered_from() -> None:
    for index in range(SIZE):
        text = draw_example("train", index).reference.render()
        assert read_answer(text).render() == text


def test_a_broken_text_is_mended_by_a_small_edit() -> None:
    tried = mended = 0
    likeness: list[float] = []
    for index in range(SIZE):
        example = draw_example("train", index)
        broken = near_miss(example.prompt, example.reference, random.Random(index), broken=1)
        if broken is None:
            continue
        tried += 1
        text = repair(example.prompt, broken.render(), random.Random(index))
        if text is None:
            continue
        mended += 1
        assert all(finding.passed for finding in verify(example.prompt.checks, text))
        words = difflib.SequenceMatcher(None, broken.render().split(), text.split(), autojunk=False)
        likeness.append(words.ratio())
    assert mended / tried > 0.9
    assert sum(likeness) / len(likeness) > 0.8


def test_a_text_that_is_right_stays_as_it_is() -> None:
    for index in range(20):
        example = draw_example("train", index)
        text = example.reference.render()
        assert repair(example.prompt, text, random.Random(0)) == text
