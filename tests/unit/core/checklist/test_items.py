"""Putting a checklist together: the request's items first, and no extracted check that contradicts another."""

from __future__ import annotations

from typing import Any

import pytest

from spar_core.checklist.conflicts import conflict_of
from spar_core.checklist.items import EVERYTHING, Item, add_extracted, complete
from spar_core.checks import build_check

NO_COMMA: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})
LOWER: tuple[str, dict[str, Any]] = ("change_case:english_lowercase", {})
UPPER: tuple[str, dict[str, Any]] = ("change_case:english_capital", {})


def words(number: int, relation: str) -> tuple[str, dict[str, Any]]:
    return "length_constraints:number_words", {"num_words": number, "relation": relation}


def sentences(number: int, relation: str) -> tuple[str, dict[str, Any]]:
    return "length_constraints:number_sentences", {"num_sentences": number, "relation": relation}


def include(*keywords: str) -> tuple[str, dict[str, Any]]:
    return "keywords:existence", {"keywords": list(keywords)}


def avoid(*forbidden: str) -> tuple[str, dict[str, Any]]:
    return "keywords:forbidden_words", {"forbidden_words": list(forbidden)}


def often(keyword: str, frequency: int, relation: str) -> tuple[str, dict[str, Any]]:
    return "keywords:frequency", {"keyword": keyword, "frequency": frequency, "relation": relation}


def end(phrase: str) -> tuple[str, dict[str, Any]]:
    return "startend:end_checker", {"end_phrase": phrase}


def language(code: str) -> tuple[str, dict[str, Any]]:
    return "language:response_language", {"language": code}


def bullets(number: int) -> tuple[str, dict[str, Any]]:
    return "detectable_format:number_bullet_lists", {"num_bullets": number}


CONTRADICTIONS = [
    (NO_COMMA, include("yes, please")),
    (NO_COMMA, end("Yours, Ann")),
    (avoid("river"), include("the River")),
    (avoid("end"), end("The end.")),
    (avoid("mill"), often("mill", 2, "at least")),
    (words(100, "at least"), words(50, "less than")),
    (words(100, "at least"), words(100, "less than")),
    (words(5, "less than"), sentences(6, "at least")),
    (often("mill", 3, "at least"), often("Mill", 2, "less than")),
    (language("de"), language("fr")),
    (language("de"), LOWER),
    (LOWER, UPPER),
    (LOWER, ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"})),
    (LOWER, ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2})),
    (UPPER, ("detectable_format:constrained_response", {})),
    (bullets(3), bullets(4)),
    (end("Bye."), end("Good night.")),
    (("combination:repeat_prompt", {"prompt_to_repeat": "Name a river."}), ("startend:quotation", {})),
    (("combination:repeat_prompt", {"prompt_to_repeat": "Name a river."}), ("detectable_format:json_format", {})),
]
COMPATIBLE = [
    (NO_COMMA, include("yes")),
    (avoid("river"), include("rivers")),
    (avoid("mill"), often("mill", 2, "less than")),
    (words(50, "at least"), words(100, "less than")),
    (words(99, "at least"), words(100, "less than")),
    (words(100, "less than"), sentences(6, "at least")),
    (often("mill", 3, "at least"), often("bread", 2, "less than")),
    (language("en"), LOWER),
    (LOWER, ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"})),
    (include("mill"), include("bread")),
    (end("night."), end("Good night.")),
    (("startend:quotation", {}), end("Bye.")),
]


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS)
def test_checks_that_no_response_can_meet_together(first: Any, second: Any) -> None:
    assert conflict_of(build_check(*first), build_check(*second))
    assert conflict_of(build_check(*second), build_check(*first))


@pytest.mark.parametrize(("first", "second"), COMPATIBLE)
def test_checks_that_a_response_can_meet_together(first: Any, second: Any) -> None:
    assert conflict_of(build_check(*first), build_check(*second)) is None
    assert conflict_of(build_check(*second), build_check(*first)) is None


def items(source: Any, *checks: Any) -> list[Item]:
    return [Item.of(build_check(*check), source) for check in checks]


def test_an_extracted_check_gives_way_to_the_request() -> None:
    given = items("request", words(50, "less than"))
    listed, dropped = add_extracted(given, items("rules", words(100, "at least"), NO_COMMA))
    assert [item.requirement for item in listed] == ["fewer than 50 words", "no commas"]
    (gone,) = dropped
    assert gone.item.requirement == "at least 100 words"
    assert gone.reason == 'cannot be met together with "fewer than 50 words": at least 100 and at most 49'


def test_of_two_extracted_checks_that_contradict_each_other_neither_stays() -> None:
    listed, dropped = add_extracted([], items("model", language("de"), language("fr"), NO_COMMA))
    assert [item.requirement for item in listed] == ["no commas"]
    assert len(dropped) == 2


def test_what_is_on_the_list_is_not_added_again() -> None:
    given = [*items("request", NO_COMMA), Item("Be kind.", "request")]
    listed, dropped = add_extracted(
        given, [*items("rules", NO_COMMA), Item("be kind", "model"), Item("rhyme", "model")]
    )
    assert [item.requirement for item in listed] == ["no commas", "Be kind.", "rhyme"]
    assert dropped == []


def test_an_empty_list_is_the_instruction_as_a_whole() -> None:
    assert [item.requirement for item in complete([]).items] == [EVERYTHING]
