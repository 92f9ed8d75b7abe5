"""Building checks, and verifying a response against several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar_core.checks import IFBENCH_TRAIN_IDS, IFEVAL_IDS, build_check, verify
from spar_core.checks.ifeval.language import LANGUAGES
from spar_core.errors import RequestError
from tests.support.checks import every_check

DATA = Path(os.environ.get("SPAR_DATA", Path(__file__).parents[5] / "shared" / "data"))


def test_there_are_ifevals_25_types_in_order() -> None:
    assert len(IFEVAL_IDS) == 25
    assert list(IFEVAL_IDS) == sorted(IFEVAL_IDS)


def test_there_are_ifbenchs_29_types_for_training_apart_from_ifevals() -> None:
    assert len(IFBENCH_TRAIN_IDS) == 29
    assert list(IFBENCH_TRAIN_IDS) == sorted(IFBENCH_TRAIN_IDS)
    assert all(check_id.startswith("ifbench-train:") for check_id in IFBENCH_TRAIN_IDS)
    assert not set(IFBENCH_TRAIN_IDS) & set(IFEVAL_IDS)


def test_kwargs_that_are_none_are_left_out() -> None:
    check = build_check("punctuation:no_comma", {"num_words": None, "keywords": None})
    assert dict(check.kwargs) == {}


def test_integers_may_be_written_as_floats() -> None:
    check = build_check("length_constraints:number_paragraphs", {"num_paragraphs": 3.0})
    assert check.requirement() == "exactly 3 paragraphs separated by ***"


def test_an_unknown_id_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'length_constraints:number_sentences'") as raised:
        build_check("length_constraint:number_sentence", {})
    assert raised.value.param == "id"


@pytest.mark.parametrize(
    ("check_id", "kwargs", "param", "message"),
    [
        ("punctuation:no_comma", {"num_words": 3}, "num_words", "it takes: none"),
        ("length_constraints:number_words", {"num_words": 3}, "relation", "needs the kwarg 'relation'"),
        ("length_constraints:number_words", {"num_words": None, "relation": "at least"}, "num_words", "needs"),
        ("length_constraints:number_words", {"num_words": "3", "relation": "at least"}, "num_words", "whole number"),
        ("length_constraints:number_words", {"num_words": True, "relation": "at least"}, "num_words", "whole number"),
        ("length_constraints:number_words", {"num_words": 2.5, "relation": "at least"}, "num_words", "whole number"),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}, "num_words", "at least 0"),
        ("length_constraints:number_words", {"num_words": float("inf"), "relation": "at least"}, "num_words", "whole"),
        ("length_constraints:number_words", {"num_words": float("nan"), "relation": "at least"}, "num_words", "whole"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at most"}, "relation", "'less than'"),
        ("keywords:existence", {"keywords": "river"}, "keywords", "a list of 1 to 1000 words"),
        ("keywords:existence", {"keywords": []}, "keywords", "not empty"),
        ("keywords:existence", {"keywords": ["river", 3]}, "keywords", "a list of 1 to 1000 words"),
        ("keywords:existence", {"keywords": ["river"] * 1001}, "keywords", "a list of 1 to 1000 words"),
        ("keywords:frequency", {"keyword": " ", "frequency": 1, "relation": "at least"}, "keyword", "not empty"),
        (
            "keywords:letter_frequency",
            {"letter": "ab", "let_frequency": 1, "let_relation": "at least"},
            "letter",
            "one character",
        ),
        ("language:response_language", {"language": "klingon"}, "language", "one of the language codes"),
        ("language:response_language", {"language": ["en"]}, "language", "one of the language codes"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 0, "first_word": "the"},
            "nth_paragraph",
            "at least 1",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "the"},
            "nth_paragraph",
            "at most num_paragraphs, which is 2",
        ),
    ],
)
def test_wrong_kwargs_are_refused_with_the_field_and_the_fix(
    check_id: str, kwargs: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        build_check(check_id, kwargs)
    assert raised.value.param == param


def test_a_long_wrong_value_is_shortened_in_the_message() -> None:
    with pytest.raises(RequestError) as raised:
        build_check("keywords:existence", {"keywords": "x" * 10_000})
    assert len(str(raised.value)) < 200


def test_findings_come_in_the_order_of_the_checks() -> None:
    checks = [build_check("keywords:existence", {"keywords": ["river"]}), build_check("punctuation:no_comma", {})]
    assert [finding.passed for finding in verify(checks, "A river, a mill.")] == [True, False]
    assert verify([], "A river.") == ()


@pytest.mark.parametrize(
    ("check_id", "kwargs", "response"),
    [
        ("startend:quotation", {}, 'Sure, here it is:\n"The river runs."'),
        ("startend:end_checker", {"end_phrase": "Bye."}, "The river runs. Bye.\nI hope that helps!"),
        ("startend:quotation", {}, 'Sure:\n"The river runs."\nI hope that helps!'),
        ("startend:end_checker", {"end_phrase": "Bye."}, "The river runs. **Bye.**"),
        ("startend:quotation", {}, 'Sure:\n**"The river runs."**\nI hope that helps!'),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Write."}, "*Write.*\nThe river runs."),
    ],
)
def test_loose_forgives_an_opening_line_a_closing_line_and_asterisks(
    check_id: str, kwargs: dict[str, Any], response: str
) -> None:
    checks = [build_check(check_id, kwargs)]
    assert not verify(checks, response)[0].passed
    assert verify(checks, response, loose=True)[0].passed


def test_loose_does_not_pass_on_what_is_left_when_nothing_is() -> None:
    assert not verify([build_check("punctuation:no_comma", {})], "a, b", loose=True)[0].passed


def test_a_loose_failure_reports_the_response_as_it_stands() -> None:
    check = build_check("length_constraints:number_words", {"num_words": 9, "relation": "at least"})
    assert verify([check], "one\ntwo\nthree", loose=True)[0].evidence == "3 words"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                ["river", "Mr.", "U.S.", "...", "***", "******", "* a", "\n\n", "<<t>>", "[x]", "P.S.", "1.", '"', ","]
            ),
        ),
        max_size=25,
    ).map(" ".join)
)
def test_no_text_breaks_a_check_and_strict_implies_loose(text: str) -> None:
    checks = every_check()
    strict, loose = verify(checks, text), verify(checks, text, loose=True)
    assert verify(checks, text) == strict
    for one, other in zip(strict, loose, strict=True):
        assert one.evidence
        assert other.passed or not one.passed


@pytest.mark.parametrize(
    "unit",
    [
        " ", "\n", "*", "<", "[", ".", ". ", "!", "a", '"', "'", "Mr. ", "A,", "CANNOT-", "x..", ".)", "p. ", ".-",
        "- ", "a a ", "[a]", "<<a b>>",
    ],
)  # fmt: skip
def test_degenerate_responses_are_verified_in_linear_time(unit: str) -> None:
    text = unit * (60_000 // len(unit)) + "x"
    started = time.process_time()
    verify(every_check(), text)
    assert time.process_time() - started < 5, "quadratic in the response's length"


def test_the_language_names_are_langdetects_languages() -> None:
    from langdetect import PROFILES_DIRECTORY

    assert set(LANGUAGES) == {path.name for path in Path(PROFILES_DIRECTORY).iterdir() if path.is_file()}


def test_importing_the_checks_does_not_load_the_language_detector() -> None:
    code = "import spar_core.checks, sys; sys.exit('langdetect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=False).returncode == 0


@pytest.mark.skipif(not (DATA / "ifeval").is_dir(), reason="no IFEval data")
def test_every_instruction_of_ifeval_builds() -> None:
    rows = [json.loads(line) for line in (DATA / "ifeval" / "input_data.jsonl").read_text("utf-8").splitlines()]
    checks = [
        build_check(check_id, kwargs)
        for row in rows
        for check_id, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]
    assert len(checks) == 834
    assert {check.id for check in checks} == set(IFEVAL_IDS)
    assert all(check.requirement() for check in checks)
