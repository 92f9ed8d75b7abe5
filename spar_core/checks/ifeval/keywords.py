"""Checks on which words and letters occur.

IFEval compiles keywords as regular expressions, but its data holds only plain words. Here a keyword is
searched as it is written, so that `C++` can be one, and in linear time, however long it is and however
often it nearly occurs.
"""

from __future__ import annotations

from typing import Final

import re2

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, compare, counted, letter, relation, text, whole, words


def _list(words: tuple[str, ...]) -> str:
    return f"the word{'s' if len(words) > 1 else ''} {', '.join(words)}"


def _existence(response: str, kwargs: Kwargs) -> Finding:
    folded = response.casefold()
    missing = [word for word in kwargs["keywords"] if word.casefold() not in folded]
    return Finding(not missing, f"{', '.join(missing)} missing" if missing else "all found")


def forbidden(response: str, kwargs: Kwargs) -> Finding:
    folded = response.casefold()
    found = [word for word in kwargs["forbidden_words"] if _has_word(word.casefold(), folded)]
    return Finding(not found, f"{', '.join(found)} found" if found else "none found")


def _has_word(word: str, text: str) -> bool:
    """Whether `word` stands in `text` with no letter, digit or underscore at either side."""
    if word not in text:
        return False
    options = re2.Options()
    options.log_errors = False
    try:
        alone = re2.compile(rf"(?:\A|[^\pL\pN_]){re2.escape(word)}(?:[^\pL\pN_]|\z)", options)
    except re2.error:
        # Longer than RE2 takes, a page of text and more: no word, and it is there.
        return True
    return alone.search(text) is not None


def occurrences(keyword: str, response: str) -> int:
    """How often the keyword occurs in any case, within words too."""
    return response.casefold().count(keyword.strip().casefold())


def frequency(response: str, kwargs: Kwargs) -> Finding:
    count = occurrences(kwargs["keyword"], response)
    return Finding(compare(count, kwargs["frequency"], kwargs["relation"]), counted(count, "time"))


def letter_frequency(response: str, kwargs: Kwargs) -> Finding:
    count = response.lower().count(kwargs["letter"].lower())
    return Finding(compare(count, kwargs["let_frequency"], kwargs["let_relation"]), counted(count, "time"))


def times(number: int, relation: str) -> str:
    """`at least 2 times`, `fewer than 1 time`."""
    return f"{'at least' if relation == 'at least' else 'fewer than'} {counted(number, 'time')}"


SPECS: Final = (
    CheckSpec(
        "keywords:existence",
        lambda k: f"include {_list(k['keywords'])}",
        _existence,
        {"keywords": words},
        passes=lambda k: len(k["keywords"]),
    ),
    CheckSpec(
        "keywords:forbidden_words",
        lambda k: f"avoid {_list(k['forbidden_words'])}",
        forbidden,
        {"forbidden_words": words},
        # Each place where a word could begin is looked at from both sides.
        passes=lambda k: 12 * len(k["forbidden_words"]),
    ),
    CheckSpec(
        "keywords:frequency",
        lambda k: f"use the word {k['keyword']} {times(k['frequency'], k['relation'])}",
        frequency,
        {"keyword": text, "frequency": whole, "relation": relation},
    ),
    CheckSpec(
        "keywords:letter_frequency",
        lambda k: f"use the letter {k['letter']} {times(k['let_frequency'], k['let_relation'])}",
        letter_frequency,
        {"letter": letter, "let_frequency": whole, "let_relation": relation},
    ),
)
