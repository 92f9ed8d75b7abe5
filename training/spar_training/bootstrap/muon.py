"""Muon in the model's own precision.

It orthogonalizes the momentum by a Newton-Schulz iteration (Jordan et al. 2024, "Muon: an optimizer for hidden
layers"). `torch.optim.Muon` iterates in bfloat16, which is ten times slower than float32 on a CPU without bfloat16
instructions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch

# Coefficients of the quintic iteration: steep at zero, so that small singular values grow fast.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS: Final = 5


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Approximate the nearest semi-orthogonal matrix of the same shape."""
    tall = matrix.size(0) > matrix.size(1)
    x: torch.Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """The optimizer, for two-dimensional hidden weights only.

    Its updates are scaled to the root mean square of AdamW's, so that one learning rate suits both.
    """

    def __init__(self, params: Iterable[torch.Tensor], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the weights from their gradients. `closure` is not supported."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                velocity: torch.Tensor = state["momentum"]
                velocity.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonalize(weight.grad.lerp(velocity, group["momentum"]))
                scale = 0.2 * max(weight.shape) ** 0.5
                weight.add_(update, alpha=-group["lr"] * scale)
