"""Seeds: every sampled number derives from the request's seed and where in the search it is drawn."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *place: int | str) -> int:
    """A seed in [0, 2**31) for one place, e.g. `derive_seed(7, 0, 2, "vote", 4)`.

    Stable over processes and versions; unrelated places give unrelated seeds.
    """
    text = "/".join([str(seed), *[f"{type(part).__name__[0]}{part}" for part in place]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
