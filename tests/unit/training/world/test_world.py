"""The synthetic world: its prompts can be satisfied, and its critiques are true."""

from __future__ import annotations

import random
from collections import Counter

from spar_core.checks import verify
from spar_core.prompts import load_templates
from spar_core.refiner import extract_refined
from spar_core.verdict import parse_verdict
from spar_training.world import lexicon
from spar_training.world.constraints import CONSTRAINT_TYPES
from spar_training.world.critique import write_critique
from spar_training.world.example import draw_example
from spar_training.world.near_miss import near_miss
from spar_training.world.prompt import split_of
from spar_training.world.samples import actor_sample, refiner_sample

SIZE = 120


def test_the_world_has_many_constraint_types_subjects_and_phrasings() -> None:
    assert len(CONSTRAINT_TYPES) >= 12
    assert len(set(lexicon.SUBJECTS)) >= 60
    assert all(len(set(kind.phrasings)) >= 3 for kind in CONSTRAINT_TYPES.values())
    drawn = [draw_example("train", index).prompt for index in range(SIZE)]
    assert {constraint.id for prompt in drawn for constraint in prompt.constraints} == set(CONSTRAINT_TYPES)
    assert {len(prompt.constraints) for prompt in drawn} == {1, 2, 3, 4}


def test_every_reference_meets_every_constraint() -> None:
    for split in ("train", "validation", "held_out"):
        for index in range(SIZE // 3):
            example = draw_example(split, index)
            text = example.reference.render()
            assert all(finding.passed for finding in verify(example.prompt.checks, text)), (example.prompt.text, text)


def test_near_misses_break_constraints_of_every_type() -> None:
    broken_types: Counter[str] = Counter()
    for index in range(SIZE):
        example = draw_example("train", index)
        answer = near_miss(example.prompt, example.reference, random.Random(index), broken=1)
        if answer is None:
            continue
        failed = [
            check.id
            for check, finding in zip(
                example.prompt.checks, verify(example.prompt.checks, answer.render()), strict=True
            )
            if not finding.passed
        ]
        assert failed
        broken_types.update(failed)
    assert set(broken_types) == set(CONSTRAINT_TYPES)


def test_a_critique_agrees_with_the_checks() -> None:
    for index in range(SIZE):
        example = draw_example("train", index)
        answer = near_miss(example.prompt, example.reference, random.Random(index), broken=2) or example.reference
        findings = verify(example.prompt.checks, answer.render())
        critique = write_critique(example.prompt.checks, answer.render())
        *lines, _ = critique.split("\n")
        assert [line.endswith("-> yes") for line in lines] == [finding.passed for finding in findings]
        for line, check in zip(lines, example.prompt.checks, strict=True):
            assert check.requirement() in line
        assert parse_verdict(critique) is all(finding.passed for finding in findings)


def test_held_out_prompts_share_neither_seed_nor_combination_with_training() -> None:
    seeds: dict[str, set[int]] = {}
    combinations: dict[str, set[frozenset[str]]] = {}
    for split in ("train", "validation", "held_out"):
        prompts = [draw_example(split, index).prompt for index in range(SIZE)]
        seeds[split] = {prompt.seed for prompt in prompts}
        combinations[split] = {frozenset(c.id for c in prompt.constraints) for prompt in prompts}
    assert not seeds["train"] & seeds["held_out"]
    assert not combinations["train"] & combinations["held_out"]
    assert not combinations["train"] & combinations["validation"]
    assert not combinations["validation"] & combinations["held_out"]


def test_the_split_of_a_combination_does_not_depend_on_its_order() -> None:
    assert split_of(["a", "b", "c"]) == split_of(["c", "a", "b"])
    assert split_of(["a"]) == "train"


def test_the_same_index_gives_the_same_example() -> None:
    assert draw_example("train", 5) == draw_example("train", 5)


def test_samples_match_the_conversations_of_serving() -> None:
    templates = load_templates("compact")
    kinds: Counter[int] = Counter()
    for index in range(60):
        prompt = draw_example("train", index).prompt
        assert actor_sample("train", index)[0].text == prompt.text
        sample = refiner_sample("train", index, templates)
        turns = sample.conversation
        kinds[len(turns)] += 1
        response = turns[0].text.partition("\nResponse: ")[2]
        expected = templates.judge(actor_sample("train", index)[:1], response)
        assert list(turns[:1]) == expected
        assert (sample.source is not None) == (len(turns) == 4)
        if len(turns) == 4:
            refined = extract_refined(turns[3].text).text
            assert refined is not None
            assert all(finding.passed for finding in verify(prompt.checks, refined))
    assert set(kinds) == {2, 4}
    assert 0.4 < kinds[4] / 60 < 0.8


def test_no_noun_is_part_of_another_word() -> None:
    words = {*lexicon.SUBJECTS, *lexicon.NOUNS, *lexicon.ADJECTIVES, *lexicon.TIMES}
    for noun in lexicon.NOUNS:
        assert not [word for word in words if noun in word and word != noun]
