"""Repairs by program: an answer meets its constraints afterwards, and says what it said before."""

from __future__ import annotations

import random
from typing import Any

import pytest

from spar_core.checks import build_check
from spar_training.data.repairs.passages import repeats_itself, whole_sentences
from spar_training.data.repairs.repair import Source, repaired

ANSWER = (
    "Tea is made from the leaves of a plant, and people drink it hot. It has been grown in China for ages.\n\n"
    "Pour boiling water over the leaves. Wait for three minutes, then drink it slowly."
)
OTHER = (
    "Green tea tastes fresh. Black tea is stronger and keeps longer. Some like it with milk. Jazz quiz zebras agree."
)


def mend(answer: str, *constraints: tuple[str, dict[str, Any]]) -> str | None:
    checks = [build_check(id, kwargs) for id, kwargs in constraints]
    return repaired(answer, checks, Source("Write about tea.", [OTHER], random.Random(1)))


def test_an_answer_that_passes_is_left_as_it_is() -> None:
    assert mend(ANSWER, ("keywords:existence", {"keywords": ["tea"]})) == ANSWER


@pytest.mark.parametrize(
    ("id", "kwargs"),
    [
        ("keywords:existence", {"keywords": ["honey", "river"]}),
        ("keywords:forbidden_words", {"forbidden_words": ["china", "then"]}),
        ("keywords:frequency", {"keyword": "water", "frequency": 4, "relation": "at least"}),
        ("keywords:frequency", {"keyword": "leaves", "frequency": 2, "relation": "less than"}),
        ("keywords:letter_frequency", {"letter": "z", "let_frequency": 2, "let_relation": "at least"}),
        ("keywords:letter_frequency", {"letter": "p", "let_frequency": 2, "let_relation": "less than"}),
        ("length_constraints:number_words", {"num_words": 50, "relation": "at least"}),
        ("length_constraints:number_words", {"num_words": 20, "relation": "less than"}),
        ("length_constraints:number_sentences", {"num_sentences": 6, "relation": "at least"}),
        ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "today"},
        ),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
        ("detectable_content:number_placeholders", {"num_placeholders": 4}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 3}),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 3}),
        ("detectable_format:title", {}),
        ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}),
        ("detectable_format:json_format", {}),
        ("detectable_format:constrained_response", {}),
        ("change_case:english_lowercase", {}),
        ("change_case:english_capital", {}),
        ("change_case:capital_word_frequency", {"capital_frequency": 4, "capital_relation": "at least"}),
        ("punctuation:no_comma", {}),
        ("startend:end_checker", {"end_phrase": "That is all for now."}),
        ("startend:quotation", {}),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Write about tea."}),
        ("combination:two_responses", {}),
    ],
)
def test_each_type_is_repaired(id: str, kwargs: dict[str, Any]) -> None:
    check = build_check(id, kwargs)
    assert not check.find(ANSWER).passed
    mended = mend(ANSWER, (id, kwargs))
    assert mended is not None
    assert check.find(mended).passed


@pytest.mark.parametrize(
    ("constraint", "mended"),
    [
        (("punctuation:no_comma", {}), ANSWER.replace(",", "")),
        (("startend:quotation", {}), f'"{ANSWER}"'),
        (("change_case:english_lowercase", {}), ANSWER.lower()),
        (("startend:end_checker", {"end_phrase": "Bye."}), f"{ANSWER}\n\nBye."),
    ],
)
def test_only_what_was_wrong_changes(constraint: tuple[str, dict[str, Any]], mended: str) -> None:
    assert mend(ANSWER, constraint) == mended


def test_several_constraints_are_met_together() -> None:
    constraints = (
        ("startend:quotation", {}),
        ("punctuation:no_comma", {}),
        ("detectable_format:title", {}),
        ("length_constraints:number_words", {"num_words": 60, "relation": "less than"}),
    )
    mended = mend(ANSWER, *constraints)
    assert mended is not None
    assert all(build_check(id, kwargs).find(mended).passed for id, kwargs in constraints)


def test_items_of_a_list_become_the_requested_bullets() -> None:
    answer = "Here is how:\n1. Boil water.\n2. Add the leaves.\n3. Wait.\n4. Drink."
    mended = mend(answer, ("detectable_format:number_bullet_lists", {"num_bullets": 3}))
    assert mended == "Here is how:\n* Boil water.\n* Add the leaves.\n* Wait."


def test_a_heading_becomes_the_title() -> None:
    mended = mend("## The Ways of Tea\nTea is a drink.", ("detectable_format:title", {}))
    assert mended == "<<The Ways of Tea>>\nTea is a drink."


def test_what_no_program_can_repair_is_none() -> None:
    assert mend(ANSWER, ("language:response_language", {"language": "de"})) is None
    assert mend("Tea.", ("length_constraints:number_words", {"num_words": 900, "relation": "at least"})) is None


def test_a_text_that_was_cut_off_ends_with_its_last_whole_sentence() -> None:
    assert whole_sentences("One is here. Two is") == "One is here."
    assert whole_sentences("no sentence at all") == ""
    assert whole_sentences("Do this:\n1. Wait.\n2.\n3. Th") == "Do this:\n1. Wait."


def test_texts_that_go_round_in_circles_are_recognised() -> None:
    assert repeats_itself("I would like to drink a cup of tea. " * 8)
    assert repeats_itself("and then the tea and the cup and the tea again and " * 10)
    assert repeats_itself("Here are some:\n1. Green tea\n2. Green tea\n3. Green tea")
    assert not repeats_itself(ANSWER)


def test_sections_that_are_marked_already_are_not_marked_twice() -> None:
    answer = "Part 1\nTea is a hot drink. It is green or black."
    mended = mend(answer, ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}))
    assert mended == "Part 1\nTea is a hot drink.\n\nPart 2\nIt is green or black."
