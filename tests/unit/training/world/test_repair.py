"""Minimal refinements of the world's texts."""

from __future__ import annotations

import difflib
import random

from spar_core.checks import verify
from spar_training.world.example import draw_example
from spar_training.world.near_miss import near_miss
from spar_training.world.repair import read_answer, repair

SIZE = 150


def test_a_rendered_answer_parses_back_into_its_structure() -> None:
    for index in range(SIZE):
        text = draw_example("train", index).reference.render()
        assert read_answer(text).render() == text


def test_a_broken_text_is_repaired_by_a_small_edit() -> None:
    tried = repaired = 0
    similarity: list[float] = []
    for index in range(SIZE):
        example = draw_example("train", index)
        broken = near_miss(example.prompt, example.reference, random.Random(index), broken=1)
        if broken is None:
            continue
        tried += 1
        text = repair(example.prompt, broken.render(), random.Random(index))
        if text is None:
            continue
        repaired += 1
        assert all(finding.passed for finding in verify(example.prompt.checks, text))
        words = difflib.SequenceMatcher(None, broken.render().split(), text.split(), autojunk=False)
        similarity.append(words.ratio())
    assert repaired / tried > 0.9
    assert sum(similarity) / len(similarity) > 0.8


def test_a_correct_text_stays_unchanged() -> None:
    for index in range(20):
        example = draw_example("train", index)
        text = example.reference.render()
        assert repair(example.prompt, text, random.Random(0)) == text
