"""Instructions that are their seed again, with nothing asked for besides."""

from __future__ import annotations

from spar_training.evolve.filters.removal import Removal
from spar_training.shingles import words


def echo(text: str, seed: str) -> Removal | None:
    """Whether `text` has the seed's words, in their order, and no others; or only the first part of them."""
    said, known = words(text), words(seed)
    return Removal("echo") if said == known[: len(said)] else None
