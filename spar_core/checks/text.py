"""Text helpers that several checks share: words, sentences, languages.

Sentence splitting is rule-based and needs no model. A sentence ends at `.`, `!` or `?` (one or more,
with any closing quotes or brackets) before white space or the end, unless the full stop belongs to a
known abbreviation, to an initial (`J. Smith`), to a dotted acronym (`U.S.`) or to a list number at
the start of a sentence; after an abbreviation or acronym the sentence still ends when what follows
starts like a new one. A line break alone ends no sentence. This follows what
NLTK's English Punkt model does on ordinary prose.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"\w+")
# Titles and the like: never the end of a sentence, whatever follows.
_BEFORE_NAMES: Final = frozenset(
    ("mr mrs ms dr prof gen rep sen gov st capt col lt sgt maj rev hon messrs mme").split()
)
_ABBREVIATIONS: Final = frozenset(
    (
        "vs etc e.g i.e inc ltd corp jr sr vol al approx dept est jan feb apr jun jul aug "
        "sep sept oct nov dec mon tue thu fri a.m p.m u.s u.k u.n p.s ph.d m.d b.c a.d d.c "
        "cf ca"
    ).split()
)
_SENTENCE_STARTERS: Final = frozenset(
    (
        "the a an this that these those it he she they we you i there here in on at if when while but "
        "and so what who why how my our his her their however although after before please"
    ).split()
)
_END: Final = re.compile(r"([.!?]+)([\"'”’)\]*_]*)(\s+|$)")


def count_words(text: str) -> int:
    """Runs of word characters, as IFEval counts them."""
    return len(_WORD.findall(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, stripped; see the module's rules."""
    sentences: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if match.end() < len(text) and not _ends_sentence(text, match, start):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, match: re.Match[str], start: int) -> bool:
    if match[1] != ".":
        # After an ellipsis a lowercase word goes on with the same sentence.
        return not (match[1].startswith("..") and text[match.end()].islower())
    token = re.split(r"[\s(\[\"'“‘]", text[start : match.start()])[-1]
    following = text[match.end() :]
    if token.isdigit() and text[start : match.start()].strip() == token:
        return False
    lowered = token.lower()
    if lowered in _BEFORE_NAMES or (len(token) == 1 and token.isalpha() and token != "I"):
        return False
    if lowered in _ABBREVIATIONS or re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", token):
        word = _WORD.match(following.lstrip("\"'“‘(["))
        return bool(word and word[0][0].isupper() and word[0].lower() in _SENTENCE_STARTERS)
    return not text[match.end()].islower()


@lru_cache(maxsize=8192)
def language_of(text: str) -> str | None:
    """ISO 639-1 code of the text's language by langdetect; None when it finds no features to go by.

    Deterministic: the detector's own randomness is seeded. Cached, because one text is often verified
    several times and a detection takes milliseconds.
    """
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None
