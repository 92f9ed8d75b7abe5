"""The frozen output head scores labels as plain logits do, and has the same gradient."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from spar_training.trainers.lm_head import use_frozen_head

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def model(*, frozen: bool) -> Any:
    found = AutoModelForCausalLM.from_pretrained(str(files("spar_core") / "models" / "actor"), dtype=torch.float32)
    found.get_output_embeddings().weight.requires_grad_(not frozen)
    add_fused_lm_head(found, outputs=OUTPUTS)
    return found


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    drawn = torch.randint(5, 100, (3, 60), generator=torch.Generator().manual_seed(1))
    labels = drawn.clone()
    # A prompt, and padding at the end.
    labels[:, :20] = -100
    labels[0, 40:] = -100
    return {"input_ids": drawn, "attention_mask": torch.ones_like(drawn), "labels": labels}


def test_scores_and_gradient_are_those_of_the_whole_logits(batch: dict[str, torch.Tensor]) -> None:
    ours = model(frozen=True)
    use_frozen_head(ours)
    made = ours(**batch, fused_lm_head=True)
    logits = ours(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    targets, mask = batch["labels"][:, 1:], batch["labels"][:, 1:] != -100
    whole = logits.log_softmax(-1)
    expected = whole.gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1) * mask
    torch.testing.assert_close(made.log_probs, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.entropy, -(whole.exp() * whole).sum(-1) * mask, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.mean_logits, logits.mean(-1) * mask, atol=1e-4, rtol=1e-4)
    assert torch.equal(made.is_top1, (logits.argmax(-1) == targets) & mask)
    torch.testing.assert_close(made.loss, -expected.sum() / mask.sum())
    weight = ours.model.layers[0].mlp.up_proj.weight
    # Tokens weigh differently, as in DPO.
    shares = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2))
    gradients = [torch.autograd.grad((each * shares).sum(), weight)[0] for each in (made.log_probs, expected)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_a_batch_without_labels_has_a_gradient_of_zero(batch: dict[str, torch.Tensor]) -> None:
    ours = model(frozen=True)
    use_frozen_head(ours)
    made = ours(**{**batch, "labels": torch.full_like(batch["labels"], -100)}, fused_lm_head=True)
    made.loss.backward()
    assert made.loss == 0
    assert not ours.model.layers[0].mlp.up_proj.weight.grad.any()


def test_a_trained_or_scaled_head_stays_with_trl(batch: dict[str, torch.Tensor]) -> None:
    trained, scaled = model(frozen=False), model(frozen=True)
    scaled.config.logits_scaling = 2.0
    for each in (trained, scaled):
        forward = each.forward
        use_frozen_head(each)
        assert each.forward == forward
