"""Remove duplicates and near duplicates of earlier prompts."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from spar_training.prompt_evolution.filters.quality import Removal
from spar_training.prompt_evolution.shingles import shingles

_SHINGLE: Final = 3


def duplicates(texts: Sequence[str], names: Sequence[str]) -> list[Removal | None]:
    """Remove each text that equals an earlier one, apart from case, character width and white space."""
    first: dict[str, str] = {}
    removals: list[Removal | None] = []
    for text, name in zip(texts, names, strict=True):
        known = first.setdefault(_plain(text), name)
        removals.append(None if known == name else Removal("duplicate", f"of {known}"))
    return removals


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def near_duplicates(texts: Sequence[str], names: Sequence[str], *, least: float = 0.7) -> list[Removal | None]:
    """Remove each text whose 3-word shingles have a Jaccard similarity of at least `least` with an earlier kept text.

    This is exact without comparing all pairs: such similar texts share at least one of their rarest shingles (prefix
    filtering; Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", WWW 2007).
    """
    sets = [shingles(text, _SHINGLE) for text in texts]
    rarity = Counter(shingle for found in sets for shingle in found)
    by_prefix: defaultdict[int, list[int]] = defaultdict(list)
    removals: list[Removal | None] = []
    for number, found in enumerate(sets):
        rarest = sorted(found, key=lambda shingle: (rarity[shingle], shingle))
        prefix = rarest[: len(found) - math.ceil(least * len(found) - 1e-9) + 1]
        removal = _nearest(number, {other for shingle in prefix for other in by_prefix[shingle]}, sets, names, least)
        if removal is None:
            for shingle in prefix:
                by_prefix[shingle].append(number)
        removals.append(removal)
    return removals


def _nearest(
    number: int, candidates: set[int], sets: Sequence[frozenset[int]], names: Sequence[str], least: float
) -> Removal | None:
    found = sets[number]
    for other in sorted(candidates):
        known = sets[other]
        # The sizes alone rule out this similarity.
        if min(len(found), len(known)) < least * max(len(found), len(known)):
            continue
        shared = len(found & known)
        if (similarity := shared / (len(found) + len(known) - shared)) >= least:
            return Removal("near duplicate", f"of {names[other]}, Jaccard {similarity:.2f}")
    return None
