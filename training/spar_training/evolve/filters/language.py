"""Prompts in another language than the wanted one, by langdetect."""

from __future__ import annotations

from typing import Final

from spar_training.evolve.filters.removal import Removal

# The beginning tells the language, and the time does not grow with pasted documents.
_READ: Final = 2000


def language(text: str, wanted: str, *, least: float = 0.1) -> Removal | None:
    """Whether langdetect gives the language `wanted` (its code, e.g. `en`) a probability of `least` or more.

    The bound is low on purpose: langdetect is often wrong about sentences of a few words, and seldom sure of it.
    Deterministic, since the detector's own randomness is seeded. A text without letters is in no language and removed.
    """
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0
    try:
        found = detect_langs(text[:_READ])
    except LangDetectException:
        return Removal("no language")
    if any(guess.lang == wanted and guess.prob >= least for guess in found):
        return None
    return Removal("other language", f"{found[0].lang} {found[0].prob:.2f}")
