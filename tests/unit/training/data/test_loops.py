"""Responses that repeat themselves, against what they said before."""

from __future__ import annotations

from spar_training.data.repairs.loops import stopped_pairs
from spar_training.data.repairs.passages import start_of_repeats
from tests.unit.training.data.test_repaired_responses import judged

START = "Tea is a hot drink that people enjoy in the morning."
LOOP = " It is good for you, and it is good for me." * 12
OTHER = "Coffee is dark and hot and keeps many people awake at night."


def test_a_response_that_repeats_itself_is_stopped_and_repaired() -> None:
    (pair,) = stopped_pairs([judged([OTHER])], {"tea": [OTHER, START + LOOP]}, per_prompt=2, seed=1)
    assert pair["chosen"][0]["content"] == f"{START} It is good for you and it is good for me."
    rejected = pair["rejected"][0]["content"]
    assert (START + LOOP).startswith(rejected)
    assert len(rejected.split()) < len((START + LOOP).split())
    assert pair["rejected_cut_off"]
    assert pair["provenance"]["kind"] == "stopped"


def test_only_so_many_of_a_prompt_are_stopped() -> None:
    texts = {"tea": [START + LOOP, OTHER + LOOP, f"{OTHER} {START}{LOOP}"]}
    made = [len(stopped_pairs([judged([OTHER])], texts, per_prompt=number, seed=1)) for number in (0, 1, 2, 5)]
    assert made == [0, 1, 2, 3]


def test_a_response_that_says_nothing_before_it_repeats_itself_is_left_out() -> None:
    assert not stopped_pairs(
        [judged([OTHER])], {"tea": ["Tea. " + "Tea, tea, tea, tea, tea. " * 20]}, per_prompt=2, seed=1
    )


def test_a_text_that_does_not_repeat_itself_has_no_start_of_it() -> None:
    assert start_of_repeats(START) is None
    text = "* one item here\n* two items there\n" + "* the same item\n" * 5
    assert (start := start_of_repeats(text)) is not None
    assert text[start:].startswith(("the same item", "* the same item"))
