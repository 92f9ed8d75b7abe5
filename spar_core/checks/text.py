"""Text helpers that several checks share: words, sentences, languages.

Sentences are split by the decision procedure of Punkt (Kiss and Strunk, "Unsupervised Multilingual
Sentence Boundary Detection", Computational Linguistics 32(4), 2006), because IFEval counts them with
Punkt's English model. Its learned statistics are replaced by the word lists of `sentence_lexicon`,
so nothing is loaded. In short:

- `!` and `?` before white space, a quote or a bracket end a sentence, whatever follows.
- So does a full stop, unless it belongs to an abbreviation, to an initial before a name (`J. Smith`) or
  to an ellipsis, or stands between a number or an initial and a lowercase word. An abbreviation or
  ellipsis ends the sentence after all when a word that opens sentences follows (`in the U.S. They`).
- A line break alone ends no sentence; the number of a list item (`1. Peel`) is a sentence of its own.
- Closing quotes and brackets stay with the sentence that they close.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Final

from spar_core.checks.sentence_lexicon import ABBREVIATIONS, AFTER_NUMBER, OPENERS, ORDINARY

# Long texts are read in pieces of this many characters: a single call on all of one would keep other threads waiting.
_PIECE: Final = 50_000
# The characters from which a language is detected; the detector uses 10,000 of them, without addresses.
_OPENING: Final = 50_000
_WORD: Final = re.compile(r"\w+")
_SPACES: Final = " \t\n\r\v\f"

# Marks that are never inside a word, hence tokens of their own.
_MARK: Final = r"""[)(\]\[{}"';:*@!?‘’“”«»]"""
_RUN: Final = r"(?:--+|\.\.+)"
_TOKEN: Final = re.compile(
    rf"""{_RUN}|[^\s("`{{\[:;&#*@)}}\]\-,]\S*?(?=\s|$|{_MARK}|{_RUN}|,(?:$|\s|{_MARK}|{_RUN}))|\S"""
)
# Where a sentence may end: before a mark, or before white space and another word.
_CANDIDATE: Final = re.compile(rf"[.!?](?=(?P<after>{_MARK}|\s+(?P<next>\S+)))")
_PLAIN_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_NUMBER: Final = re.compile(r"-?[.,]?\d[\d,.-]*\.")
_CLOSING: Final = re.compile(r"""["')\]}‘’“”«»]+?(?:\s+|(?=--)|$)""", re.MULTILINE)


def count_words(text: str) -> int:
    """Runs of word characters in Unicode's sense (UTS #18), as IFEval counts them: vowel signs belong to their word."""
    words, ascii_only = 0, text.isascii()
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        words += len(_WORD.findall(piece)) if ascii_only else sum(inside for inside, _ in groupby(piece, _in_word))
        if start and _in_word(text[start - 1]) and _in_word(piece[0]):
            # It was counted with the piece before.
            words -= 1
    return words


def split_by(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """What `pattern.split(text)` has, one after the other, so that other threads run in between."""
    start = 0
    for match in pattern.finditer(text):
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]


@lru_cache(maxsize=4096)
def _in_word(character: str) -> bool:
    """Letters, marks, decimal digits, connectors and joiners; unlike `\\w`, which splits Hindi words at vowels."""
    category = unicodedata.category(character)
    enclosed = character.isupper() or character.islower()
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or character in "\u200c\u200d" or enclosed


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, stripped; see the module's rules."""
    spans = list(_spans(text))
    sentences: list[str] = []
    taken = 0  # characters at the start of a span that close the sentence before it
    for (start, end), following in zip(spans, [*spans[1:], None], strict=True):
        start += taken
        taken = 0
        if following and (closing := _CLOSING.match(text, *following)):
            end = closing.end()
            taken = end - following[0]
        if start < end:
            sentences.append(text[start:end].strip())
    return sentences


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The sentences before closing marks are moved back to them, as (start, end)."""
    start = 0
    for word_start, match in _candidates(text):
        if _ends_sentence(text, word_start, match):
            yield start, match.end()
            start = match.start("next") if match["next"] else match.end()
    yield start, len(text.rstrip())


def _candidates(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Each possible end with the start of its word; of several ends within one word, the last."""
    before: re.Match[str] | None = None
    word_start = 0
    for match in _CANDIDATE.finditer(text):
        searched = before.start() if before else 0
        space = max(text.rfind(character, searched, match.start()) for character in _SPACES)
        if before and (space >= 0 or word_start == before.start()):
            yield word_start, before
        if space >= 0:
            word_start = space + 1
        before = match
    if before:
        yield word_start, before


def _ends_sentence(text: str, word_start: int, match: re.Match[str]) -> bool:
    word = text[word_start : match.start()]
    if match[0] != "." or "!" in word or "?" in word:
        return True
    if _PLAIN_WORD.fullmatch(word) and word.lower() not in ABBREVIATIONS:
        return True
    leads_line = not text[max(0, word_start - 20) : word_start].rpartition("\n")[2].strip()
    tokens = [*_TOKEN.findall(word + match[0]), *_TOKEN.findall(match["after"])]
    return any(_breaks(token, following, leads_line=leads_line) for token, following in pairwise(tokens))


def _breaks(token: str, following: str, *, leads_line: bool) -> bool:
    """Whether a sentence ends between two neighbouring tokens."""
    if token in (".", "!", "?"):
        return True
    if not token.endswith("."):
        return False
    next_word = following.lower().removesuffix(".")
    opens = following[0].isupper() and next_word in OPENERS
    if token.endswith(".."):
        return opens
    bare = token[:-1].lower()
    abbreviated = bare in ABBREVIATIONS or bare.rpartition("-")[2] in ABBREVIATIONS
    if len(bare) == 1 and bare.isalpha():
        # A capital after an initial is a name, unless the word is ordinary or the letter is a list number.
        listed = leads_line and bare in "abi" and following[1:].islower()
        ordinary = next_word != "i" and (opens or listed or next_word in ORDINARY)
        named = following[0].isupper() and not ordinary
        return not (abbreviated or named or _continues(following))
    if _NUMBER.fullmatch(token):
        return not (_continues(following) or next_word in AFTER_NUMBER)
    return opens if abbreviated else True


def _continues(token: str) -> bool:
    """Whether a token shows that the sentence goes on: punctuation, or a lowercase word."""
    return token in (";", ":", ",", ".", "!", "?") or token[0].islower()


@lru_cache(maxsize=1024)
def language_of(text: str) -> str | None:
    """ISO 639-1 code of the text's language by langdetect; None if it cannot detect one.

    Deterministic: the detector's own randomness is seeded. Cached, because one text is often verified
    several times and a detection takes milliseconds.
    """
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text[:_OPENING]))
    except LangDetectException:
        return None
