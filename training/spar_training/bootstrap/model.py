"""The base model: a small Llama, which every engine for Llama can serve."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spar_training.bootstrap.muon import Muon
from spar_training.bootstrap.recipe import Shape


def build_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model with tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    # Embeddings of norm one. They are tied to the output; with the usual 0.02, the embeddings would have to grow before
    # any logit could become large enough to single out one token among thousands.
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=shape.width**-0.5)
    return model


class Optimizers:
    """Muon for the matrices inside the layers, AdamW for the embeddings and the norms.

    With Muon (Jordan et al. 2024) the model learns to copy in fewer tokens than with AdamW alone. It is meant for
    hidden matrices only.
    """

    def __init__(self, model: LlamaForCausalLM, *, lr: float) -> None:
        hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
        chosen = {id(p) for p in hidden}
        rest = [p for p in model.parameters() if id(p) not in chosen]
        self._all: tuple[torch.optim.Optimizer, ...] = (
            Muon(hidden, lr=lr),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        )
        self._lr = lr

    def step(self, scale: float) -> None:
        """Update at `scale` times the learning rate, and clear the gradients."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = self._lr * scale
            optimizer.step()
            optimizer.zero_grad()

    def state(self) -> list[dict[str, object]]:
        return [optimizer.state_dict() for optimizer in self._all]

    def restore(self, state: list[dict[str, object]]) -> None:
        for optimizer, saved in zip(self._all, state, strict=True):
            optimizer.load_state_dict(saved)
