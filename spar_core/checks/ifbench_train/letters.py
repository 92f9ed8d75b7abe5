"""Checks on letters: how many, at the start of words, and words that read the same backward."""

from __future__ import annotations

from itertools import pairwise
from string import ascii_lowercase
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.ifbench_train.words import quoted, words_of
from spar_core.checks.ifeval import keywords
from spar_core.checks.spec import CheckSpec, Kwargs, amount, compare, counted, letter, relation, whole

_NEIGHBOURS: Final = frozenset(pairwise(ascii_lowercase))
# Shorter words (`a`, `I`) would be in any text.
_SHORTEST_PALINDROME: Final = 3


def _letters(response: str, kwargs: Kwargs) -> Finding:
    count = sum(map(str.isalpha, response))
    return Finding(compare(count, kwargs["N"], kwargs["relation"]), counted(count, "letter"))


def _no_neighbours(response: str, _: Kwargs) -> Finding:
    for word, following in pairwise(words_of(response)):
        if (word[0].lower(), following[0].lower()) in _NEIGHBOURS:
            return Finding(False, f"{quoted(word)} before {quoted(following)}")
    return Finding(True, "no such words")


def _palindrome(response: str, _: Kwargs) -> Finding:
    found = next(filter(_is_palindrome, words_of(response)), None)
    return Finding(found is not None, quoted(found) if found else "no palindrome")


def _is_palindrome(word: str) -> bool:
    folded = word.casefold()
    return len(folded) >= _SHORTEST_PALINDROME and folded.isalpha() and folded == folded[::-1]


SPECS: Final = (
    CheckSpec(
        "ifbench-train:letter_counting",
        lambda k: amount(k["N"], k["relation"], "letter"),
        _letters,
        {"N": whole, "relation": relation},
        passes=lambda _: 10,
    ),
    CheckSpec(
        "ifbench-train:letter_counting2",
        lambda k: f"use the letter {k['letter']} {keywords.times(k['let_frequency'], k['let_relation'])}",
        keywords.letter_frequency,
        {"letter": letter, "let_frequency": whole, "let_relation": relation},
    ),
    CheckSpec(
        "ifbench-train:no_adjacent_consecutive",
        lambda _: "no word that starts with the letter of the alphabet after the one that the word before starts with",
        _no_neighbours,
        passes=lambda _: 60,
    ),
    CheckSpec(
        "ifbench-train:palindrome",
        lambda _: f"a palindrome, a word of at least {_SHORTEST_PALINDROME} letters that reads the same backward",
        _palindrome,
        passes=lambda _: 60,
    ),
)
