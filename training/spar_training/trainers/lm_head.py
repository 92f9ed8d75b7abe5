"""Score labels with a frozen output head, which halves the time of a training step on a CPU.

    use_frozen_head(model)
    model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs

TRL's fused head scores every position where there is no Triton, prompts and padding too, and computes all logits again
for the gradient. A head that is not trained needs neither: its logits give the gradient of a log-probability at once.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from trl.trainer.utils import FusedCausalLMOutput

# The logits of so many positions fit into the cache of a CPU.
_POSITIONS: Final = 128
# Keys of configurations whose models change their logits after the head, or have a loss of their own to add.
_SPECIAL: Final = (
    "output_router_logits",
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)


def use_frozen_head(model: Any) -> None:
    """Let `model(..., fused_lm_head=True)` score labels here, unless its head is trained, has a bias or is special.

    `model` is a causal language model that TRL has given a fused head, without its adapters' wrapper.
    """
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    if head.weight.requires_grad or head.bias is not None or any(getattr(config, key, None) for key in _SPECIAL):
        return
    fused = model.forward

    def forward(
        *args: Any, labels: torch.Tensor | None = None, fused_lm_head: bool = False, **kwargs: Any
    ) -> FusedCausalLMOutput:
        if not fused_lm_head or labels is None or kwargs.get("output_router_logits"):
            return fused(*args, labels=labels, fused_lm_head=fused_lm_head, **kwargs)
        items = kwargs.pop("num_items_in_batch", None)
        hidden = model.base_model(*args, **{**kwargs, "use_cache": False}).last_hidden_state[:, :-1]
        mask = labels[:, 1:] != -100
        scores = _LabelScores.apply(  # type: ignore[no-untyped-call]
            hidden[mask], head.weight, labels[:, 1:][mask]
        )
        log_probs, entropy, mean_logits, is_top1 = (
            each.new_zeros(mask.shape).masked_scatter(mask, each) for each in scores
        )
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / (mask.sum().clamp(min=1) if items is None else items),
            log_probs=log_probs,
            entropy=entropy,
            mean_logits=mean_logits,
            is_top1=is_top1,
            label_mask=mask,
        )

    model.forward = forward


class _LabelScores(torch.autograd.Function):
    """Log-probability of each target [N] after `hidden` [N, H], and entropy, mean logit and hit without gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        log_probs, entropy, mean_logits = (torch.empty(targets.shape, device=hidden.device) for _ in range(3))
        is_top1 = torch.empty(targets.shape, device=hidden.device, dtype=torch.bool)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), _POSITIONS):
            place = slice(start, start + _POSITIONS)
            target = targets[place, None]
            logits = (hidden[place].to(weight.dtype) @ weight.t()).float()
            chosen = logits.gather(1, target).squeeze(1)
            log_sum = logits.logsumexp(1)
            probabilities = (logits - log_sum[:, None]).exp_()
            log_probs[place] = chosen - log_sum
            entropy[place] = log_sum - torch.linalg.vecdot(probabilities, logits)
            mean_logits[place] = logits.mean(1)
            is_top1[place] = chosen >= logits.amax(1)
            if gradient is not None:
                # That of the log-probability by the logits is the target minus the probabilities.
                probabilities.scatter_add_(1, target, torch.full_like(chosen, -1)[:, None])
                gradient[place] = -(probabilities.to(weight.dtype) @ weight)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grads[0][:, None].to(gradient.dtype) * gradient, None, None
