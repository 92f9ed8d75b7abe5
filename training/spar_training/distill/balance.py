"""Judgements in balance: a judge that is shown one verdict mostly learns to say it always."""

from __future__ import annotations

import random
from collections.abc import Sequence

from spar_training.files import Row


def surplus(rows: Sequence[Row], most: float, seed: int) -> set[str]:
    """The ids to leave out so that the more frequent `verdict` has at most `most` rows for each of the other.

    Drawn at random by `seed`. Where one verdict is missing, all of the other are surplus.
    """
    by_verdict = {verdict: [row["id"] for row in rows if row["verdict"] == verdict] for verdict in ("Yes", "No")}
    fewer, more = sorted(by_verdict.values(), key=len)
    left_out = max(0, len(more) - int(most * len(fewer)))
    return set(random.Random(seed).sample(more, left_out))
