"""Prompts that are too short to ask for anything, or too long to leave room for an answer."""

from __future__ import annotations

from dataclasses import dataclass

from spar_training.evolve.filters.removal import Removal
from spar_training.shingles import words


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a prompt's length may be, both ends included."""

    min_characters: int = 10
    max_characters: int = 4000
    min_words: int = 3
    max_words: int = 600


def length(text: str, bounds: Bounds) -> Removal | None:
    """Whether `text` is within the bounds."""
    characters, count = len(text.strip()), len(words(text))
    if characters < bounds.min_characters or count < bounds.min_words:
        return Removal("too short", f"{characters} characters, {count} words")
    if characters > bounds.max_characters or count > bounds.max_words:
        return Removal("too long", f"{characters} characters, {count} words")
    return None
