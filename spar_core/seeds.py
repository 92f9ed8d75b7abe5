"""Derive the seed of every random draw from the request's seed and the draw's label."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *label: int | str) -> int:
    """A seed in [0, 2**31) for one draw, e.g. `derive_seed(7, 0, 2, "vote", 4)`.

    Stable across processes and versions; different labels give unrelated seeds.
    """
    text = "/".join([str(seed), *[f"{type(part).__name__[0]}{part}" for part in label]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
