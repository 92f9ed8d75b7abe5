"""Splitting sentences; the expected splits are those of NLTK's English Punkt model."""

from __future__ import annotations

import pytest

from spar_core.checks.text import count_words, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("no capitals. none at all.", ["no capitals.", "none at all."]),
        ("A line\nbreak ends\n\nnothing", ["A line\nbreak ends\n\nnothing"]),
        ("What?! Really?!! Yes.", ["What?!", "Really?!!", "Yes."]),
        # abbreviations
        ("Mr. Smith met Dr. Jones at St. Mary's.", ["Mr. Smith met Dr. Jones at St. Mary's."]),
        ("He lives in the U.S. and works.", ["He lives in the U.S. and works."]),
        ("He left the U.S. They stayed.", ["He left the U.S.", "They stayed."]),
        ("It opens at 9 a.m. on Monday.", ["It opens at 9 a.m. on Monday."]),
        ("It opens at 9 a.m. The shop closes.", ["It opens at 9 a.m.", "The shop closes."]),
        # Punkt does not know these as abbreviations
        ("Apples, pears, etc. are fruit.", ["Apples, pears, etc.", "are fruit."]),
        ("Fruit, e.g. apples.", ["Fruit, e.g.", "apples."]),
        ("Bye. P.S. Write.", ["Bye.", "P.S.", "Write."]),
        # initials and list letters
        ("The poet J. Miller wrote.", ["The poet J. Miller wrote."]),
        ("Take vitamin B. However it tastes.", ["Take vitamin B.", "However it tastes."]),
        ("A. Carrots", ["A.", "Carrots"]),
        # numbers
        ("It costs 3.50 now.", ["It costs 3.50 now."]),
        ("1. Peel it.\n2. Eat it.", ["1.", "Peel it.", "2.", "Eat it."]),
        ("1. peel it", ["1. peel it"]),
        ("It was 1999. Then it ended.", ["It was 1999.", "Then it ended."]),
        # ellipses
        ("Well... maybe.", ["Well... maybe."]),
        ("Well... However it ends.", ["Well...", "However it ends."]),
        ("Well... Kathmandu.", ["Well... Kathmandu."]),
        # quotes and brackets
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("He said “Go.” Then he left.", ["He said “Go.”", "Then he left."]),
        ("(It rained.) We stayed.", ["(It rained.)", "We stayed."]),
        ('"Go!" he said.', ['"Go!"', "he said."]),
        ("**Bold.** Plain.", ["**Bold.", "** Plain."]),
        # no text
        ("", []),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_splits(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "words"), [("it's a well-known fact", 6), ("snake_case 3.5", 3), ("", 0), ("— … !", 0), ("día año", 2)]
)
def test_words_are_runs_of_word_characters(text: str, words: int) -> None:
    assert count_words(text) == words
