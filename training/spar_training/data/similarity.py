"""How alike two texts are."""

from __future__ import annotations

from difflib import SequenceMatcher


def similarity(one: str, other: str) -> float:
    """Share of words in common and in order, 0 to 1: twice the matches over all words (Ratcliff and Obershelp)."""
    return SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()
