"""Responses that each of IFBench's 29 check types for training accepts and refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spar_core.checks import IFBENCH_TRAIN_IDS, build_check, verify
from spar_core.errors import RequestError

POEM = "Write a poem, please."
SIX = "It runs here. We saw it."

# (name, kwargs, responses that pass, responses that fail)
VERDICTS: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "word_once",
        {"keyword": " river "},
        ["A river.", "RIVER", "Upriver, no lamp."],
        ["No water.", "River, river.", "A river and its riverbank."],
    ),
    ("word_once", {"keyword": "C++"}, ["I like C++."], ["I like C.", "C++ is not C++."]),
    (
        "word_count_different_numbers",
        {"keyword": "river", "frequency": 2, "relation": "at least"},
        ["river River", "rivers and a river"],
        ["a river", "no water"],
    ),
    (
        "word_count_different_numbers",
        {"keyword": "river", "frequency": 2, "relation": "less than"},
        ["a river", "!"],
        ["river river"],
    ),
    (
        "exclude_word_harder",
        {"keyword": "old"},
        ["A golden river.", "Bolder!"],
        ["An old river.", "Old river", "It is old.", "**old**", "a\nold"],
    ),
    (
        "count_increment_word",
        {"keyword1": "river", "keyword2": "lamp"},
        ["A lamp, a river, a lamp.", "LAMP lamps upriver"],
        ["A lamp and a river.", "river river lamp lamp", "lamp lamp", "river lamp lamp lamp"],
    ),
    (
        "letter_counting",
        {"N": 4, "relation": "at least"},
        ["abcd", "a b, c. d!", "река", "नदीशांत"],
        ["abc", "1234", "a1b2c3", "!!!!"],
    ),
    ("letter_counting", {"N": 4, "relation": "less than"}, ["abc", "12345", "a-b-c"], ["abcd", "вода"]),
    (
        "letter_counting2",
        {"letter": "E", "let_frequency": 2, "let_relation": "at least"},
        ["eel", "Ee"],
        ["one", "éé"],
    ),
    ("letter_counting2", {"letter": "!", "let_frequency": 1, "let_relation": "less than"}, ["Yes."], ["Yes!"]),
    (
        "no_adjacent_consecutive",
        {},
        ["apple cat egg", "bee ant", "an orange", "x", "1 2 3", "zebra apple", "été fig", "dog — dog"],
        ["apple bee", "An old pear", '"apple", **bee**', "apple - bee", "cat\ndog"],
    ),
    (
        "palindrome",
        {},
        ["At noon.", "LEVEL", "We saw Anna's mother, then **Otto**.", "«été»", "It is — kayak — here"],
        ["I saw a river.", "A", "!!! --- ***", "12321", "Anna's", "ab ba"],
    ),
    (
        "lowercase_counting",
        {"N": 2},
        ["THE RIVER", "the Old river", "The Mill, well-known AND old", "1 2 3 4", "вода и Мельница"],
        ["the old river", "it's a mill", "old **old** «old»"],
    ),
    ("lowercase_counting", {"N": 0}, ["THE RIVER RUNS"], ["THE river RUNS"]),
    (
        "count_unique",
        {},
        ["One river runs. Two stand.", "a, b, c.", "it's it", "well-known well", "* one\n* two"],
        ["The river and the mill.", "The the", "River, *river*", "вода Вода", "* * *", "--"],
    ),
    (
        "counting_composition",
        {"n_sent": 2, "n_words": 3},
        [
            f"{SIX}\n* * *\nIt's a mill. They stand there!\n* * *\nOne, two, three. Well-known old mill.",
            f"{SIX} *** {SIX} *** {SIX}",
            f"***\n{SIX}\n***\n{SIX}\n***\n{SIX}\n***",
        ],
        [
            SIX,
            f"{SIX} *** {SIX}",
            f"{SIX} *** {SIX} *** {SIX} *** {SIX}",
            f"{SIX} *** *** {SIX} *** {SIX}",
            f"{SIX} *** It runs here. *** {SIX}",
            f"{SIX} *** {SIX} *** {SIX[:-5]}",
        ],
    ),
    (
        "first_word_answer",
        {"first_word": "River"},
        ["River banks.", '"river," she said', "**River**", "# river\nIt runs.", "- river"],
        ["The river.", "Rivers run.", "!"],
    ),
    ("first_word_answer", {"first_word": "C++"}, ["C++ is old."], ["C is old."]),
    ("first_word_answer", {"first_word": "вода"}, ["Вода течёт."], ["Река течёт."]),
    (
        "first_word_sent",
        {"first_word": "the"},
        ["The river runs. The mill stands!", "the river", "“The river?” The mill."],
        ["The river runs. It stands.", "River. The mill.", "Then it ran.", "..."],
    ),
    (
        "last_word_answer",
        {"last_word": "river"},
        ["It is a river.", "River", "the **river**!", "the river\n\n", '"A river."'],
        ["A river runs.", "upriver", "the rivers"],
    ),
    ("last_word_answer", {"last_word": "it's"}, ["So it's."], ["So its.", "So it is."]),
    (
        "last_word_sent",
        {"last_word": "river"},
        ["A river. By the river!", "the river", 'He said "the river." I saw a *river*.'],
        ["A river. A mill.", "A mill. A river.", "The rivers.", "?!"],
    ),
    (
        "keyword_specific_position",
        {"keyword": "river", "n": 2, "m": 3},
        ["One. An old river.", "One! An, old, *River*?", "One. An old-fashioned river runs."],
        [
            "An old river.",
            "One. The river.",
            "One. River old mill.",
            "One. An old mill. An old river.",
            "One. An — old, rivers",
        ],
    ),
    (
        "start_end",
        {},
        ["River of a river", "rivers, rivers", '"Old" is not old', "река это Река"],
        ["river", "River is a river.", "river mill", "River by the **river**", "river rivers", "- -"],
    ),
    (
        "copy",
        {"prompt_to_repeat": POEM},
        [POEM, f" {POEM.upper()}\n"],
        [f"{POEM} Roses", f"Sure. {POEM}", "Write a poem please."],
    ),
    (
        "copying_simple",
        {"prompt_to_repeat": POEM},
        [POEM, POEM.lower()],
        [f'"{POEM}"', f"**{POEM}**", "Roses are red."],
    ),
    (
        "copying_multiple",
        {"prompt_to_repeat": POEM, "N": 2},
        [f"{POEM}******{POEM}", f"{POEM}\n******\n{POEM.upper()}\n"],
        [
            POEM,
            f"{POEM}******{POEM}******{POEM}",
            f"{POEM}***{POEM}",
            f"{POEM}******Roses",
            f"Sure: {POEM}******{POEM}",
        ],
    ),
    ("copying_multiple", {"prompt_to_repeat": POEM, "N": 1}, [POEM], [f"{POEM}******{POEM}"]),
    (
        "copy_span_idx",
        {"prompt_to_repeat": POEM, "n_start": 2, "n_end": 6},
        # With the character at n_end, as the instruction says, or without it, as the published verifier has it.
        ["ite a", "ite ", "ITE A\n"],
        ["ite a p", "te a", POEM, "Write a"],
    ),
    ("copy_span_idx", {"prompt_to_repeat": "вода и река", "n_start": 0, "n_end": 3}, ["вода", "вод"], ["река"]),
    (
        "repeat_phrase",
        {"phrase": "The old river runs here", "small_n": 2},
        [
            "The old mill runs here. The young river runs here.",
            "1. the OLD river stands here\n2. **The old lamp runs here**",
            "He said: the old river sings here, the new river runs here, and left.",
        ],
        [
            "The old mill runs here.",
            "The old mill runs here. The young river runs here. The cold river runs here.",
            "The old river runs here. The old river runs here.",
            "The old river runs here. The old mill runs here. The young river runs here.",
            "The new mill runs here. The young lamp runs here.",
            "The old mill runs there. A young river runs here.",
            "!",
        ],
    ),
    (
        "paragraphs",
        {},
        ["one\n***\ntwo", "***one***two***", "one *** two"],
        ["one", "one\n\ntwo", "one***two***three", "one***\n***two"],
    ),
    (
        "paragraphs2",
        {},
        ["one\n\ntwo", "one\nmore\n\ntwo", "\n\none\n\ntwo\n\n"],
        ["one", "one\ntwo", "one\n\ntwo\n\nthree", "one\n\n\n\ntwo"],
    ),
    (
        "square_brackets",
        {},
        ["[The] [river] [runs.]", "[The] [river], [it's] [here].", "[one][two]\n- [three]", "[вода]"],
        ["[The river] [runs]", "[The] river", "The [river]", "[the](url)", "[...]", "[]", "no"],
    ),
    (
        "bigram_wrapping",
        {},
        ["<<I am>> <<at home>>", "<<I am>>, <<at home>>.", "<<I am>> <<at home>> now.", "<<I am>>\n<<at\nhome>>"],
        [
            "I am at home",
            "<<I am at home>>",
            "<<I>> <<am>>",
            "<<I am>> at <<my home>>",
            "<<I am>> at home",
            "<I am>",
            "!",
        ],
    ),
    (
        "sentence_hyphens",
        {},
        ["One.-Two!-Three?", "One", "A well-known mill.-It stands.", '"One."-"Two."', "Dr. Smith left.-He ran."],
        ["One. Two.", "One.\nTwo.", "One.- Two.", "One. -Two.", "One.-Two. Three.", "- One.\n- Two."],
    ),
    ("punctuation_dot", {}, ["No dot here!", "a, b; c", "…"], ["One.", "3.5", "e.g"]),
    ("punctuation_exclamation", {}, ["No. Really?"], ["Yes!", "!", "a != b"]),
]
CASES = [(f"ifbench-train:{name}", kwargs, passing, failing) for name, kwargs, passing, failing in VERDICTS]


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response"),
    [(check_id, kwargs, response) for check_id, kwargs, passing, _ in CASES for response in passing],
)
def test_accepts(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    finding = build_check(check_id, kwargs).find(response)
    assert finding.passed, finding.evidence


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response"),
    [(check_id, kwargs, response) for check_id, kwargs, _, failing in CASES for response in failing],
)
def test_refuses(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    finding = build_check(check_id, kwargs).find(response)
    assert not finding.passed, finding.evidence


def test_every_type_has_verdicts_here() -> None:
    assert {check_id for check_id, *_ in CASES} == set(IFBENCH_TRAIN_IDS)


@pytest.mark.parametrize(("check_id", "kwargs"), [(check_id, kwargs) for check_id, kwargs, *_ in CASES])
@pytest.mark.parametrize("response", ["", " \n\t "])
def test_an_empty_response_fails_every_check(check_id: str, kwargs: dict[str, Any], response: str) -> None:
    assert not build_check(check_id, kwargs).find(response).passed


def test_loose_mode_ignores_an_opening_line() -> None:
    check = build_check("ifbench-train:copy", {"prompt_to_repeat": POEM})
    assert not verify([check], f"Sure:\n{POEM}")[0].passed
    assert verify([check], f"Sure:\n{POEM}", loose=True)[0].passed


@pytest.mark.parametrize(
    ("name", "kwargs", "response", "evidence"),
    [
        ("word_once", {"keyword": "river"}, "River, river.", "2 times"),
        ("exclude_word_harder", {"keyword": "old"}, "An old mill.", "old found"),
        ("count_increment_word", {"keyword1": "a", "keyword2": "b"}, "a b", "a 1 time, b 1 time"),
        ("letter_counting", {"N": 4, "relation": "at least"}, "a 1 b", "2 letters"),
        ("no_adjacent_consecutive", {}, "An old pear.", '"old" before "pear"'),
        ("palindrome", {}, "At noon.", '"noon"'),
        ("lowercase_counting", {"N": 1}, "The old mill", "2 words in lowercase"),
        ("count_unique", {}, "The river and the mill.", '"the" repeated'),
        ("counting_composition", {"n_sent": 1, "n_words": 2}, "A b.", "1 paragraph"),
        (
            "counting_composition",
            {"n_sent": 1, "n_words": 2},
            "It runs. We saw.***It runs.***It runs.",
            "paragraph 1 has 2 sentences",
        ),
        (
            "counting_composition",
            {"n_sent": 1, "n_words": 2},
            "It runs.***It.***It runs.",
            "sentence 1 of paragraph 2 has 1 word",
        ),
        ("first_word_answer", {"first_word": "river"}, "**The** river", 'starts with "The"'),
        ("first_word_answer", {"first_word": "river"}, "x" * 100_000, f'starts with "{"x" * 40}..."'),
        ("last_word_sent", {"last_word": "river"}, "A river. A mill!", 'sentence 2 ends with "mill"'),
        ("keyword_specific_position", {"keyword": "a", "n": 3, "m": 1}, "One. Two.", "2 sentences, no sentence 3"),
        ("keyword_specific_position", {"keyword": "a", "n": 1, "m": 2}, "One.", "sentence 1 has 1 word, no word 2"),
        ("keyword_specific_position", {"keyword": "a", "n": 1, "m": 2}, "One two.", 'word 2 of sentence 1 is "two"'),
        ("start_end", {}, "River is a river.", 'something follows the last word "river"'),
        ("start_end", {}, "River mill", 'starts with "River" and ends with "mill"'),
        ("copy", {"prompt_to_repeat": POEM}, "Roses.", 'not a copy: "Roses."'),
        ("copying_multiple", {"prompt_to_repeat": POEM, "N": 2}, POEM, "1 copy"),
        ("copying_multiple", {"prompt_to_repeat": POEM, "N": 2}, f"{POEM}******Roses", 'not a copy: "Roses"'),
        ("repeat_phrase", {"phrase": "a b c", "small_n": 2}, "a x c a b c", "1 time, and 1 time unchanged"),
        ("square_brackets", {}, "[The] river", '"river" is not in square brackets'),
        ("bigram_wrapping", {}, "<<I am>> at <<my home>>", '"at" is not in a pair'),
        ("sentence_hyphens", {}, "One. Two.", 'no hyphen after "One."'),
        ("sentence_hyphens", {}, "One.- Two.", 'white space beside the hyphen after "One."'),
        ("paragraphs2", {}, "one", "1 paragraph"),
        ("punctuation_dot", {}, "An old. mill", 'dot after "old"'),
        ("punctuation_exclamation", {}, "!", "exclamation mark at the start"),
    ],
)
def test_the_evidence_says_what_was_found(name: str, kwargs: dict[str, Any], response: str, evidence: str) -> None:
    assert build_check(f"ifbench-train:{name}", kwargs).find(response).evidence == evidence


@pytest.mark.parametrize(
    ("name", "kwargs", "requirement"),
    [
        ("word_once", {"keyword": "river"}, "use the word river exactly once"),
        (
            "word_count_different_numbers",
            {"keyword": "river", "frequency": 2, "relation": "less than"},
            "use the word river fewer than 2 times",
        ),
        ("exclude_word_harder", {"keyword": "old"}, "avoid the word old"),
        (
            "count_increment_word",
            {"keyword1": "river", "keyword2": "lamp"},
            "use the word river once and the word lamp twice",
        ),
        ("letter_counting", {"N": 1, "relation": "at least"}, "at least 1 letter"),
        (
            "letter_counting2",
            {"letter": "e", "let_frequency": 2, "let_relation": "at least"},
            "use the letter e at least 2 times",
        ),
        ("lowercase_counting", {"N": 2}, "at most 2 words in lowercase"),
        ("count_unique", {}, "no word twice"),
        (
            "counting_composition",
            {"n_sent": 2, "n_words": 1},
            "exactly 3 paragraphs separated by * * *, each of exactly 2 sentences, each of exactly 1 word",
        ),
        ("first_word_answer", {"first_word": "river"}, "start with the word river"),
        ("last_word_sent", {"last_word": "river"}, "end every sentence with the word river"),
        (
            "keyword_specific_position",
            {"keyword": "river", "n": 2, "m": 3},
            "the word river as word 3 of sentence 2",
        ),
        ("copy", {"prompt_to_repeat": "Go. "}, 'nothing but this text, word for word: "Go."'),
        (
            "copying_multiple",
            {"prompt_to_repeat": "Go.", "N": 2},
            'nothing but this request 2 times, word for word, separated by ******: "Go."',
        ),
        (
            "copy_span_idx",
            {"prompt_to_repeat": POEM, "n_start": 2, "n_end": 6},
            'nothing but this text, word for word: "ite a"',
        ),
        (
            "repeat_phrase",
            {"phrase": "a b c", "small_n": 2},
            'repeat the phrase "a b c" exactly 2 times, each time with a single word inside it replaced',
        ),
        ("paragraphs", {}, "exactly 2 paragraphs separated by ***"),
        ("paragraphs2", {}, "exactly 2 paragraphs separated by a blank line"),
        ("punctuation_dot", {}, "no full stops or other dots"),
    ],
)
def test_the_requirement_is_short_and_canonical(name: str, kwargs: dict[str, Any], requirement: str) -> None:
    assert build_check(f"ifbench-train:{name}", kwargs).requirement() == requirement


@pytest.mark.parametrize(
    ("name", "kwargs", "param", "message"),
    [
        ("count_unique", {"N": 2}, "N", "it takes: none"),
        ("word_once", {}, "keyword", "needs the kwarg 'keyword'"),
        ("word_once", {"keyword": " "}, "keyword", "not empty"),
        ("first_word_answer", {"first_word": "two words"}, "first_word", "must be one word"),
        ("first_word_sent", {"first_word": ["river"]}, "first_word", "must be one word"),
        ("last_word_sent", {"last_word": "..."}, "last_word", "must be one word"),
        ("keyword_specific_position", {"keyword": "a", "n": 0, "m": 1}, "n", "at least 1"),
        ("keyword_specific_position", {"keyword": "a", "n": 1, "m": 1.5}, "m", "whole number"),
        ("letter_counting", {"N": -1, "relation": "at least"}, "N", "at least 0"),
        ("letter_counting", {"N": 3, "relation": "at most"}, "relation", "'less than'"),
        (
            "letter_counting2",
            {"letter": "ab", "let_frequency": 1, "let_relation": "at least"},
            "letter",
            "one character",
        ),
        ("lowercase_counting", {"N": "2"}, "N", "whole number"),
        ("counting_composition", {"n_sent": 0, "n_words": 2}, "n_sent", "at least 1"),
        ("count_increment_word", {"keyword1": "lamp", "keyword2": "Lamps"}, "keyword2", "without 'lamp' in it"),
        ("copying_multiple", {"prompt_to_repeat": "a******b", "N": 2}, "prompt_to_repeat", "a text without"),
        ("copy_span_idx", {"prompt_to_repeat": "abc", "n_start": 2, "n_end": 2}, "n_end", "above n_start"),
        ("copy_span_idx", {"prompt_to_repeat": "abc", "n_start": 0, "n_end": 4}, "n_end", "at most 3"),
        ("copy_span_idx", {"prompt_to_repeat": "a  b", "n_start": 1, "n_end": 2}, "n_end", "more than white space"),
        ("repeat_phrase", {"phrase": "two words", "small_n": 2}, "phrase", "at least 3 words"),
        ("repeat_phrase", {"phrase": "a b c", "small_n": 0}, "small_n", "at least 1"),
    ],
)
def test_wrong_kwargs_are_refused_with_the_field_and_the_fix(
    name: str, kwargs: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        build_check(f"ifbench-train:{name}", kwargs)
    assert raised.value.param == param


def test_a_check_can_be_written_as_json_and_built_again() -> None:
    for check_id, kwargs, *_ in CASES:
        check = build_check(check_id, kwargs)
        again = build_check(check.id, json.loads(json.dumps(dict(check.kwargs))))
        assert again.requirement() == check.requirement()


def test_a_long_phrase_to_repeat_counts_as_more_work() -> None:
    short, long = (build_check("ifbench-train:repeat_phrase", {"phrase": "a b " * n, "small_n": 2}) for n in (2, 1000))
    assert long.work("x") > 100 * short.work("x")
