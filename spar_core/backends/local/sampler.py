"""Sampling the next token of every row at once, each row by its own temperature, top_p and random number."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spar_core.types import Sampling


def sample_tokens(logits: torch.Tensor, samplings: Sequence[Sampling], draws: Sequence[float]) -> list[int]:
    """The next token of each row.

    `logits` is (rows, vocabulary); `draws` holds one number in [0, 1) per row, by which the cumulative
    distribution is inverted. Temperature 0 takes the most likely token and ignores the draw. What is None is 1.
    """
    temperatures = torch.tensor([_or_one(sampling.temperature) for sampling in samplings], device=logits.device)
    greedy = logits.argmax(-1)
    if not bool((temperatures > 0).any()):
        return [int(token) for token in greedy.tolist()]
    scaled = logits.float() / temperatures.clamp(min=1e-4)[:, None]
    probabilities = scaled.softmax(-1)
    if any(_or_one(sampling.top_p) < 1 for sampling in samplings):
        top_p = torch.tensor([_or_one(sampling.top_p) for sampling in samplings], device=logits.device)
        ordered, order = probabilities.sort(-1, descending=True)
        # A token stays while the mass before it is below top_p; the first always stays.
        outside = ordered.cumsum(-1) - ordered >= top_p[:, None]
        outside[:, 0] = False
        probabilities = torch.zeros_like(ordered).scatter(-1, order, ordered.masked_fill(outside, 0.0))
    cumulative = probabilities.cumsum(-1)
    target = torch.tensor(draws, dtype=cumulative.dtype, device=logits.device) * cumulative[:, -1]
    drawn = torch.searchsorted(cumulative, target[:, None], right=True).squeeze(-1)
    drawn = drawn.clamp(max=logits.size(-1) - 1)
    return [int(token) for token in torch.where(temperatures > 0, drawn, greedy).tolist()]


def _or_one(value: float | None) -> float:
    return 1.0 if value is None else value
