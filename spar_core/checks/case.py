"""Checks on upper and lower case. The two whole-text ones are about English text, as in IFEval."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, Test, amount, compare, counted, relation, whole
from spar_core.checks.text import language_of

_WORD: Final = re.compile(r"[^\W\d_]+")
# Tokens as a Treebank tokenizer would cut them, as far as being upper case goes: marks at the edges
# and clitics come off, hyphens and inner dots stay.
_TOKEN: Final = re.compile(r"[^\s,;:?!\"()\[\]{}<>&@#$%*`]+")
_CLITIC: Final = re.compile(r"^(.+?)(n't|'s|'m|'d|'ll|'re|'ve)$", re.IGNORECASE)


def _capital_words(response: str, kwargs: Kwargs) -> Finding:
    count = sum(part.isupper() for token in _TOKEN.findall(response) for part in _parts(token))
    return Finding(
        compare(count, kwargs["capital_frequency"], kwargs["capital_relation"]),
        f"{counted(count, 'word')} in all capitals",
    )


def _parts(token: str) -> list[str]:
    return [part for piece in re.split(r"--+|\.\.+", token) for part in _clitics(piece) if part]


def _clitics(piece: str) -> tuple[str, ...]:
    match = _CLITIC.match(piece)
    return (match[1], match[2]) if match else (piece,)


def _whole_text(predicate: Callable[[str], bool]) -> Test:
    def test(response: str, _: Kwargs) -> Finding:
        if not predicate(response):
            wrong = next((word for word in _WORD.findall(response) if not predicate(word)), None)
            return Finding(False, f'"{wrong}"' if wrong else "no letters")
        language = language_of(response)
        return Finding(language in ("en", None), f"language {language}" if language != "en" else "every word")

    return test


SPECS: Final = (
    CheckSpec("change_case:english_lowercase", lambda _: "all lowercase", _whole_text(str.islower)),
    CheckSpec("change_case:english_capital", lambda _: "all capital letters", _whole_text(str.isupper)),
    CheckSpec(
        "change_case:capital_word_frequency",
        lambda k: f"{amount(k['capital_frequency'], k['capital_relation'], 'word')} in all capitals",
        _capital_words,
        {"capital_frequency": whole, "capital_relation": relation},
    ),
)
