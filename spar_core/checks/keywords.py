"""Checks on which words and letters occur.

IFEval compiles keywords as regular expressions, but its data holds only plain words. Here a keyword is
searched as it is written, so that `C++` can be one and no request can send an expression that takes
for ever.
"""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, compare, counted, letter, relation, text, whole, words


def _list(words: tuple[str, ...]) -> str:
    return f"the word{'s' if len(words) > 1 else ''} {', '.join(words)}"


def _existence(response: str, kwargs: Kwargs) -> Finding:
    missing = [word for word in kwargs["keywords"] if not re.search(re.escape(word), response, re.IGNORECASE)]
    return Finding(not missing, f"{', '.join(missing)} missing" if missing else "all found")


def _forbidden(response: str, kwargs: Kwargs) -> Finding:
    found = [word for word in kwargs["forbidden_words"] if _has_word(word, response)]
    return Finding(not found, f"{', '.join(found)} found" if found else "none found")


def _has_word(word: str, response: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", response, re.IGNORECASE))


def _frequency(response: str, kwargs: Kwargs) -> Finding:
    count = len(re.findall(re.escape(kwargs["keyword"].strip()), response, re.IGNORECASE))
    return Finding(compare(count, kwargs["frequency"], kwargs["relation"]), counted(count, "time"))


def _letter_frequency(response: str, kwargs: Kwargs) -> Finding:
    count = response.lower().count(kwargs["letter"].lower())
    return Finding(compare(count, kwargs["let_frequency"], kwargs["let_relation"]), counted(count, "time"))


def _times(number: int, relation: str) -> str:
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
        _forbidden,
        {"forbidden_words": words},
        # Each place where a word could begin is looked at from both sides.
        passes=lambda k: 12 * len(k["forbidden_words"]),
    ),
    CheckSpec(
        "keywords:frequency",
        lambda k: f"use the word {k['keyword']} {_times(k['frequency'], k['relation'])}",
        _frequency,
        {"keyword": text, "frequency": whole, "relation": relation},
    ),
    CheckSpec(
        "keywords:letter_frequency",
        lambda k: f"use the letter {k['letter']} {_times(k['let_frequency'], k['let_relation'])}",
        _letter_frequency,
        {"letter": letter, "let_frequency": whole, "let_relation": relation},
    ),
)
