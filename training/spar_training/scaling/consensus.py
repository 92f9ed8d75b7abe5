"""Answers without a judge, from samples alone: the most common text, and the text most like the others.

Self-consistency (arXiv 2203.11171) takes the majority of final answers, which presumes that samples can be equal. Free
text seldom repeats: then the most common text is the first, and the figures say so. What stands in for a majority is
the sample that agrees best with the others by its words (minimum Bayes risk decoding).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

Consensus = Literal["none", "majority", "similar"]


def most_common(texts: Sequence[str]) -> int:
    """The place of the most common text, the earliest among equals."""
    counts = Counter(text.strip() for text in texts)
    return max(range(len(texts)), key=lambda place: (counts[texts[place].strip()], -place))


def most_similar(texts: Sequence[str]) -> int:
    """The place of the text whose words overlap most with those of the others, the earliest among equals."""
    bags = [Counter(text.split()) for text in texts]
    scores = [sum(_overlap(bag, other) for other in bags) for bag in bags]
    return max(range(len(texts)), key=lambda place: (scores[place], -place))


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    """F1 of two bags of words."""
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 0.0


CHOOSERS: Final[dict[str, Callable[[Sequence[str]], int]]] = {"majority": most_common, "similar": most_similar}
