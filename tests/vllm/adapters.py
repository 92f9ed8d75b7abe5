"""LoRA adapters in PEFT's format, with random weights large enough to change what a model says."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

RANK = 4


def write_adapter(folder: Path, base: Path, *, seed: int) -> Path:
    """An adapter of the attention of every layer of the model in `base`."""
    config = json.loads((base / "config.json").read_text())
    size, layers = config["hidden_size"], config["num_hidden_layers"]
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(layers):
        for module in ("q_proj", "v_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, size, generator=generator) * 0.3
            weights[f"{name}.lora_B.weight"] = torch.randn(size, RANK, generator=generator) * 0.3
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "r": RANK,
                "lora_alpha": RANK, "lora_dropout": 0.0, "bias": "none", "target_modules": ["q_proj", "v_proj"],
            }
        )
    )  # fmt: skip
    return folder
