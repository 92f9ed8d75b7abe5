"""Prompts that say much the same as one that is kept, by Self-BLEU, and the Self-BLEU of a set.

Self-BLEU (Zhu et al., "Texygen", SIGIR 2018) takes each text's BLEU with the others as its references. Here a text's
one reference is the other text that is nearest to it: with all as references, the score grows with the set's size and
says little about any pair.

The nearest is looked for among the five texts that share most of its 3-word shingles, not counting shingles that more
than 200 texts have. Two texts that share nothing but stock phrases hence count as different. This approximation keeps
the time nearly linear.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from spar_training.prompt_evolution.filters.quality import Removal
from spar_training.prompt_evolution.shingles import ShingleIndex, runs, shingles, words

_SHINGLE: Final = 3
_COMMON: Final = 200
# So many texts that share most are compared in full.
_COMPARED: Final = 5
_ORDERS: Final = 4


def bleu(text: str, reference: str) -> float:
    """BLEU-4 of one text with one reference, in [0, 1]; add-one smoothing above unigrams (Lin and Och, 2004)."""
    found, known = words(text), words(reference)
    if not found or not known:
        return 0.0
    logs = 0.0
    for order in range(1, _ORDERS + 1):
        grams, others = Counter(runs(found, order)), Counter(runs(known, order))
        smooth = int(order > 1)
        matched, total = (grams & others).total() + smooth, grams.total() + smooth
        if matched == 0:
            return 0.0
        logs += math.log(matched / total)
    brevity = min(0.0, 1 - len(known) / len(found))
    return math.exp(logs / _ORDERS + brevity)


def similar(texts: Sequence[str], names: Sequence[str], *, most: float = 0.5) -> list[Removal | None]:
    """Go through the texts in order; one whose BLEU with a text kept before is above `most` is taken out."""
    kept = _Neighbours(texts)
    removals: list[Removal | None] = []
    for number in range(len(texts)):
        nearest, score = kept.nearest(number)
        if score > most:
            removals.append(Removal("too similar", f"to {names[nearest]}, BLEU {score:.2f}"))
        else:
            removals.append(None)
            kept.add(number)
    return removals


def self_bleu(texts: Sequence[str], *, sample: int = 1000, seed: int = 0) -> float:
    """The mean BLEU of `sample` texts with the nearest of the others; 0 for no texts. The lower, the more diverse."""
    everyone = _Neighbours(texts)
    for number in range(len(texts)):
        everyone.add(number)
    chosen = random.Random(seed).sample(range(len(texts)), min(sample, len(texts)))
    return sum(everyone.nearest(number)[1] for number in chosen) / max(len(chosen), 1)


class _Neighbours:
    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._index = ShingleIndex(common=_COMMON)

    def add(self, number: int) -> None:
        self._index.add(number, shingles(self._texts[number], _SHINGLE))

    def nearest(self, number: int) -> tuple[int, float]:
        """The nearest added text and the BLEU with it; (-1, 0) when none has a shingle in common."""
        shared = self._index.shared(shingles(self._texts[number], _SHINGLE))
        shared.pop(number, None)
        # The lower number first where two share as many, whatever order the shingles came in.
        most = sorted(shared, key=lambda other: (-shared[other], other))[:_COMPARED]
        scores = [(other, bleu(self._texts[number], self._texts[other])) for other in most]
        return max(scores, key=lambda one: one[1], default=(-1, 0.0))
