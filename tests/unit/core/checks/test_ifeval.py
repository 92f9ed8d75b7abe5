"""Responses that each of IFEval's 25 check types accepts and refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spar_core.checks import IFEVAL_IDS, build_check

ENGLISH = "the old river runs past the quiet mill and the people walk along it every evening"

# (id, kwargs, responses that pass, responses that fail)
VERDICTS: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "keywords:existence",
        {"keywords": ["river", "lamp"]},
        ["A river and a lamp.", "RIVERS, lamps.", "upriver lamplight"],
        ["A river.", "A lamp.", "Neither."],
    ),
    ("keywords:existence", {"keywords": ["C++"]}, ["I like C++."], ["I like C and CC."]),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["old", "C++"]},
        ["A golden, bolder river in C."],
        ["An old river.", "Old!", "It is in C++."],
    ),
    (
        "keywords:frequency",
        {"keyword": " river ", "frequency": 2, "relation": "at least"},
        ["river river", "Rivers and a river"],
        ["river", "no water"],
    ),
    (
        "keywords:frequency",
        {"keyword": "river", "frequency": 2, "relation": "less than"},
        ["river", "no water"],
        ["river river"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "E", "let_frequency": 2, "let_relation": "at least"},
        ["eel", "Ee"],
        ["one", "no"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
        ["#one", "none"],
        ["#a #b"],
    ),
    ("language:response_language", {"language": "de"}, ["Der Hund lief nach Hause und schlief.", "12 34"], [ENGLISH]),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two three", "it's so", "a-b c", "पुरानी नदी शांत"],
        # Vowel signs, accents and joiners are part of their word; a fraction is not a word.
        ["one two", "!?", "पुरानी नदी", "nai\u0308ve می\u200cروم", "one two ½"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["one two"], ["one two three"]),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        ["One. Two! Three?", "One. Two. Three", "one. two. three."],
        ["One. Two.", "Mr. Smith met Dr. Jones. They left."],
    ),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, ["One."], ["One. Two."]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["one\n***\ntwo", "one *** two", "***one***two***"],
        ["one\n\ntwo", "one***two***three", "one***\n***two"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Summary"},
        ["one\n\nsummary of it", 'one\n\n"Summary, as it is', "one\n\nSUMMARY"],
        ["summary one\n\ntwo", "one\n\nthe summary", "summary", "one\n\nsummary\n\nthree", "one\n\n\n\nsummary"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["Dear [name], in [city].", "[][]", "[[a] [b]"],
        ["Dear [name].", "[two\nlines] [one]", "no [ marks ["],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\n\nP.S. Write.", "p. s. hello"],
        ["Bye. PS write", "P.P.S"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["P.P.S write", "p. p. s. x"],
        ["P.S. write"],
    ),
    ("detectable_content:postscript", {"postscript_marker": "Note:"}, ["Bye. note: x"], ["Bye. note x"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* one\n* two", "- one\n  - two", "* one\ntext\n- two"],
        ["* one", "* one\n* two\n* three", "one * two * three", "** bold\n** bold"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*one* and *two*", "**one** *two*"],
        ["*one*", "* *", "*one\ntwo* x"],
    ),
    (
        "detectable_format:title",
        {},
        ["<<The river>>\nIt runs.", "It runs <<x>>", "<<<x>>>"],
        ["<The river>", "<<>>", "<< >>", "<<the\nriver>>", "> >> <<"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "Section1 Section2 Section3"],
        ["Section 1\na", "SECTION 1\nSECTION 2", "Section one Section two"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1, 2]}', '```json\n{"a": 1}\n```', "```\n[]```", '"text"', "3"],
        ['Here: {"a": 1}', '{"a": 1', "{'a': 1}", "[" * 100_000],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "Well. My answer is maybe. So be it."],
        ["my answer is no.", "My answer is no", "Yes."],
    ),
    (
        "change_case:english_lowercase",
        {},
        [ENGLISH, f"{ENGLISH} 123!"],
        [ENGLISH.title(), "123", "der hund lief nach hause und schlief dort die ganze nacht"],
    ),
    (
        "change_case:english_capital",
        {},
        [ENGLISH.upper()],
        [ENGLISH, ENGLISH.upper() + " x", "123"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["NASA and ESA", "I'M here", "CANNOT", "the U.S.A. and I", "DON’T", "A--B", "**BIG** WORDS!"],
        ["NASA", "A-B", "COVID-19 is here", "Nasa Esa", "I'm here", "NASA's"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["NASA"],
        ["NASA ESA"],
    ),
    ("punctuation:no_comma", {}, ["no such mark; none"], ["one, two", ","]),
    (
        "startend:end_checker",
        {"end_phrase": "Is that all?"},
        ["So. Is that all?", 'So. is that ALL?"', "So. Is that all?\n\n"],
        ["Is that all? Yes.", "Is that all"],
    ),
    (
        "startend:quotation",
        {},
        ['"All of it."', ' "All of it."\n', '""'],
        ['"', 'All "of" it', '"All of it', "“All of it.”"],
    ),
    (
        "combination:two_responses",
        {},
        ["one******two", "******one\n******\ntwo******"],
        ["one", "one******one", "one******two******three", "one******\n******two"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write a poem. "},
        ["Write a poem.\nRoses", "  WRITE A POEM. Roses"],
        ["Sure. Write a poem.", "Write a poem: Roses"],
    ),
]


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response"),
    [(check_id, kwargs, response) for check_id, kwargs, passing, _ in VERDICTS for response in passing],
)
def test_accepts(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    finding = build_check(check_id, kwargs).find(response)
    assert finding.passed, finding.evidence


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response"),
    [(check_id, kwargs, response) for check_id, kwargs, _, failing in VERDICTS for response in failing],
)
def test_refuses(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    finding = build_check(check_id, kwargs).find(response)
    assert not finding.passed, finding.evidence


def test_every_type_has_verdicts_here() -> None:
    assert {check_id for check_id, *_ in VERDICTS} == set(IFEVAL_IDS)


@pytest.mark.parametrize(("check_id", "kwargs"), [(check_id, kwargs) for check_id, kwargs, *_ in VERDICTS])
@pytest.mark.parametrize("response", ["", " \n\t "])
def test_an_empty_response_fails_every_check(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    assert not build_check(check_id, kwargs).find(response).passed


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response", "evidence"),
    [
        ("keywords:existence", {"keywords": ["river", "lamp"]}, "A lamp.", "river missing"),
        ("keywords:forbidden_words", {"forbidden_words": ["old"]}, "An old mill.", "old found"),
        (
            "length_constraints:number_sentences",
            {"num_sentences": 3, "relation": "at least"},
            "One. Two?",
            "2 sentences",
        ),
        ("punctuation:no_comma", {}, "The old, deep river.", 'comma after "old"'),
        ("punctuation:no_comma", {}, 'The "old", deep river.', 'comma after "old"'),
        ("change_case:english_lowercase", {}, "the Old river", '"Old"'),
        ("detectable_format:title", {}, "No title.", "no title"),
    ],
)
def test_the_evidence_says_what_was_found(check_id: str, kwargs: dict[str, Any], response: str, evidence: str) -> None:
    assert build_check(check_id, kwargs).find(response).evidence == evidence


@pytest.mark.parametrize(
    ("check_id", "kwargs", "requirement"),
    [
        ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, "at least 3 sentences"),
        ("length_constraints:number_words", {"num_words": 40, "relation": "less than"}, "fewer than 40 words"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "exactly 2 paragraphs separated by ***"),
        ("keywords:existence", {"keywords": ["river"]}, "include the word river"),
        ("keywords:existence", {"keywords": ["river", "lamp"]}, "include the words river, lamp"),
        ("keywords:forbidden_words", {"forbidden_words": ["river"]}, "avoid the word river"),
        (
            "keywords:frequency",
            {"keyword": "river", "frequency": 2, "relation": "at least"},
            "use the word river at least 2 times",
        ),
        ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "exactly 3 bullet points"),
        ("detectable_format:title", {}, "a title in double angular brackets"),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "at least 1 highlighted section"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "a postscript starting with P.S."),
        (
            "detectable_content:number_placeholders",
            {"num_placeholders": 2},
            "at least 2 placeholders in square brackets",
        ),
        ("startend:end_checker", {"end_phrase": "Peace!"}, 'end with the phrase "Peace!"'),
        ("startend:quotation", {}, "wrapped in double quotation marks"),
        ("change_case:english_lowercase", {}, "all lowercase"),
        ("change_case:english_capital", {}, "all capital letters"),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "at least"},
            "at least 2 words in all capitals",
        ),
        ("punctuation:no_comma", {}, "no commas"),
        ("language:response_language", {"language": "de"}, "the whole response in German"),
    ],
)
def test_the_requirement_is_short_and_canonical(check_id: str, kwargs: dict[str, Any], requirement: str) -> None:
    assert build_check(check_id, kwargs).requirement() == requirement


def test_a_check_can_be_written_as_json_and_built_again() -> None:
    for check_id, kwargs, *_ in VERDICTS:
        check = build_check(check_id, kwargs)
        again = build_check(check.id, json.loads(json.dumps(dict(check.kwargs))))
        assert again.requirement() == check.requirement()
