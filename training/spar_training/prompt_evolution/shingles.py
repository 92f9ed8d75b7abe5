"""Shingles (word n-grams) of texts, and an index of the shingles that texts share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

# Chinese and Japanese have no spaces between words, so each character counts as a word.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text, normalized: NFKC, case-folded, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def shingles(text: str, size: int) -> frozenset[int]:
    """The distinct runs of `size` words of a text, as hashes that are valid only in this process.

    A text with fewer words is a single run; a text without words has none.
    """
    found = words(text)
    return frozenset(hash(run) for run in runs(found, min(size, len(found)))) if found else frozenset()


def runs(found: list[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words, in order."""
    return list(zip(*(found[start:] for start in range(size)), strict=False))


class ShingleIndex:
    """An index from shingles to the texts that contain them.

    Shingles of more than `common` texts are stock phrases ("write a story about"). They are not counted, so a look-up
    stays fast with many texts.
    """

    def __init__(self, *, common: int | None = None) -> None:
        self._texts: defaultdict[int, list[int]] = defaultdict(list)
        self._common = common

    def add(self, number: int, found: Iterable[int]) -> None:
        for shingle in found:
            self._texts[shingle].append(number)

    def shared(self, found: Iterable[int]) -> Counter[int]:
        """The number of these shingles that each text contains, by the text's number."""
        counts: Counter[int] = Counter()
        for shingle in found:
            texts = self._texts.get(shingle, ())
            if self._common is None or len(texts) <= self._common:
                counts.update(texts)
        return counts
