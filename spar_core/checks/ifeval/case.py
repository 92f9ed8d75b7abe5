"""Checks on upper and lower case. The two on the whole text require English, as in IFEval."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, Test, amount, compare, counted, relation, whole
from spar_core.checks.text import language_of, split_by

_WORD: Final = re.compile(r"[^\W\d_]+")
# Words are split as by IFEval's tokenizer, NLTK's improved Treebank one, as far as upper case is concerned: marks and
# clitics are split off, hyphens and single dots are part of a word.
_MARKS: Final = re.compile(r"""[\s;@#$%&?!*\[\](){}<>"`«»“”‘’„‒–—―]+|[:,](?!\d)|\.\.+|--|''""")
_CLITIC: Final = re.compile(r"(?<=[^'])'(?:[smdSMD]|ll|LL|re|RE|ve|VE)$|(?<=[^'])(?:n't|N'T)$")
_CONTRACTION: Final = re.compile(
    r"\b(can(?=not)|gim(?=me)|gon(?=na)|got(?=ta)|lem(?=me)|wan(?=na$)|more(?='n)|d(?='ye))(not|me|na|ta|'n|'ye)\b",
    re.IGNORECASE,
)


def _capital_words(response: str, kwargs: Kwargs) -> Finding:
    count = sum(map(_capitals, split_by(_MARKS, response)))
    return Finding(
        compare(count, kwargs["capital_frequency"], kwargs["capital_relation"]),
        f"{counted(count, 'word')} in all capitals",
    )


def _capitals(piece: str) -> int:
    """The number of words in all capitals in a piece between marks: 2 in `I'M` and `CANNOT`, 1 in `JOE's`."""
    if not piece or piece.islower():
        return 0
    body, clitic = piece.rstrip(".'"), ""
    if "'" in body and (found := _CLITIC.search(body)):
        body, clitic = body[: found.start()], found[0]
    return sum(word.isupper() for word in (*_CONTRACTION.sub(r" \1 \2 ", body).split(), clitic))


def _whole_text(predicate: Callable[[str], bool]) -> Test:
    def test(response: str, _: Kwargs) -> Finding:
        if not predicate(response):
            wrong = next((word[0] for word in _WORD.finditer(response) if not predicate(word[0])), None)
            return Finding(False, f'"{wrong}"' if wrong else "no letters")
        language = language_of(response)
        return Finding(language in ("en", None), f"language {language}" if language != "en" else "every word")

    return test


SPECS: Final = (
    CheckSpec(
        "change_case:english_lowercase", lambda _: "all lowercase", _whole_text(str.islower), passes=lambda _: 70
    ),
    CheckSpec(
        "change_case:english_capital", lambda _: "all capital letters", _whole_text(str.isupper), passes=lambda _: 70
    ),
    CheckSpec(
        "change_case:capital_word_frequency",
        lambda k: f"{amount(k['capital_frequency'], k['capital_relation'], 'word')} in all capitals",
        _capital_words,
        {"capital_frequency": whole, "capital_relation": relation},
        passes=lambda _: 120,
    ),
)
