"""Remove prompts that are similar to a kept one by BLEU, and measure the diversity of a set by Self-BLEU.

Self-BLEU (Zhu et al., "Texygen", SIGIR 2018) is each text's BLEU with all others as references. Here the only reference
is the nearest other text, because with all of them the score grows with the size of the set and says little about any
pair.

To keep the time nearly linear, the nearest text is searched only among the five that share the most 3-word shingles,
not counting shingles of more than 200 texts. Texts that share only stock phrases thus count as different.
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
# The number of texts, sharing the most shingles, for which BLEU is computed.
_COMPARED: Final = 5
_ORDERS: Final = 4


def bleu(text: str, reference: str) -> float:
    """BLEU-4 of a text with one reference, in [0, 1], with add-one smoothing above unigrams (Lin and Och, 2004)."""
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
    """Remove each text whose BLEU with an earlier kept text is above `most`."""
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
    """The mean BLEU of `sample` texts with their nearest other text; lower is more diverse; 0 if there are no texts."""
    neighbours = _Neighbours(texts)
    for number in range(len(texts)):
        neighbours.add(number)
    chosen = random.Random(seed).sample(range(len(texts)), min(sample, len(texts)))
    return sum(neighbours.nearest(number)[1] for number in chosen) / max(len(chosen), 1)


class _Neighbours:
    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._index = ShingleIndex(common=_COMMON)

    def add(self, number: int) -> None:
        self._index.add(number, shingles(self._texts[number], _SHINGLE))

    def nearest(self, number: int) -> tuple[int, float]:
        """The nearest added text and the BLEU with it; (-1, 0) if none shares a shingle."""
        shared = self._index.shared(shingles(self._texts[number], _SHINGLE))
        shared.pop(number, None)
        # Ties are broken by number, so that the result does not depend on the order of the shingles.
        most = sorted(shared, key=lambda other: (-shared[other], other))[:_COMPARED]
        scores = [(other, bleu(self._texts[number], self._texts[other])) for other in most]
        return max(scores, key=lambda one: one[1], default=(-1, 0.0))
