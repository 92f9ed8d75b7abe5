"""Sampling the next token from one row of logits, by the request's own temperature, top_p and random number."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spar_core.types import Sampling

# Tokens less likely than this share of the likeliest are looked at only where the others do not reach top_p.
_SMALL: Final = 1e-4


def sample_token(logits: NDArray[np.float32], sampling: Sampling, draw: float) -> int:
    """`draw`, in [0, 1), inverts the cumulative distribution.

    Temperature 0 takes the most likely token and ignores the draw. What is None is 1.
    """
    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    likeliest = int(logits.argmax())
    if temperature <= 0:
        return likeliest
    weights = np.exp((logits - logits[likeliest]) * np.float32(1 / max(temperature, 1e-4)))
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    if top_p >= 1:
        return _drawn(weights.cumsum(), draw)
    order, cumulative = _nucleus(weights, top_p)
    return int(order[_drawn(cumulative, draw)])


def _nucleus(weights: NDArray[np.float32], top_p: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The likeliest tokens that reach `top_p` together, in the vocabulary's order, with their cumulative weights."""
    total = weights.sum(dtype=np.float64)
    likely = np.flatnonzero(weights > _SMALL)
    if weights[likely].sum(dtype=np.float64) < top_p * total:
        likely = np.arange(len(weights))
    order = likely[np.argsort(-weights[likely], kind="stable")]
    cumulative = weights[order].cumsum()
    # A token stays while the mass before it is below top_p; the first always stays.
    size = 1 + int(np.searchsorted(cumulative, top_p * total, side="left"))
    inside = np.sort(order[:size])
    return inside, weights[inside].cumsum()


def _drawn(cumulative: NDArray[np.float32], draw: float) -> int:
    place = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
    return min(place, len(cumulative) - 1)
