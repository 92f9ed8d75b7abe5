"""Texts as sets of word n-grams, and an index that counts which texts share how many of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

# Chinese and Japanese write no spaces, so that each of their characters counts as a word.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words, in their plainest form: NFKC, no case, no punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def shingles(text: str, size: int) -> frozenset[int]:
    """The text's different runs of `size` words as hashes, which mean something in this process only.

    A text with fewer words is one run; one without words has none.
    """
    found = words(text)
    return frozenset(hash(run) for run in runs(found, min(size, len(found)))) if found else frozenset()


def runs(found: list[str], size: int) -> list[tuple[str, ...]]:
    """Every run of `size` words in order."""
    return list(zip(*(found[start:] for start in range(size)), strict=False))


class ShingleIndex:
    """Which of the texts added have which shingles.

    Shingles of more than `common` texts are stock phrases ("write a story about"): they are not counted from there on,
    which keeps a look-up short however many texts there are.
    """

    def __init__(self, *, common: int | None = None) -> None:
        self._texts: defaultdict[int, list[int]] = defaultdict(list)
        self._common = common

    def add(self, number: int, found: Iterable[int]) -> None:
        for shingle in found:
            self._texts[shingle].append(number)

    def shared(self, found: Iterable[int]) -> Counter[int]:
        """How many of these shingles each text shares, by its number."""
        counts: Counter[int] = Counter()
        for shingle in found:
            texts = self._texts.get(shingle, ())
            if self._common is None or len(texts) <= self._common:
                counts.update(texts)
        return counts
