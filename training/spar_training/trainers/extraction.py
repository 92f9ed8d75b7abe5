"""Extract the difference between a model and its base as one LoRA adapter.

Each training of the loop merges its adapter, so that the next one can start from whole weights. The accumulated change
still has a low rank, or nearly; its best approximation of a given rank is the truncated singular value decomposition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig
from safetensors import safe_open

from spar_core.errors import ConfigError
from spar_training.storage.weights import save_weights

_WEIGHTS: Final = "adapter_model.safetensors"


def extract_adapter(base: Path, model: Path, out: Path, *, rank: int) -> float:
    """Write the adapter to `out` in bf16, and return the fraction of the squared difference that it captures.

    Example:
        extract_adapter(Path("base"), Path("runs/mine/iteration-3/actor"), Path("adapters/actor"), rank=16)

    Raises:
        ConfigError: the models differ in shape, have equal weights, or differ in a weight that is not a layer's matrix.
    """
    with ExitStack() as stack:
        before, after = (_Weights(folder, stack) for folder in (base, model))
        if before.keys() != after.keys():
            odd = min(before.keys() ^ after.keys())
            raise ConfigError(f"{model}: not trained from {base}: only one of them has {odd}")
        tensors: dict[str, torch.Tensor] = {}
        modules: set[str] = set()
        whole = held = 0.0
        for name, change in _changes(before, after, base, model):
            module = name.removesuffix(".weight")
            left, values, right = torch.linalg.svd(change, full_matrices=False)
            root = values[:rank].sqrt()
            tensors[f"base_model.model.{module}.lora_A.weight"] = (root[:, None] * right[:rank]).bfloat16().contiguous()
            tensors[f"base_model.model.{module}.lora_B.weight"] = (left[:, :rank] * root).bfloat16().contiguous()
            modules.add(module.rpartition(".")[2])
            squares = values.square()
            whole += float(squares.sum())
            held += float(squares[:rank].sum())
    if not tensors:
        raise ConfigError(f"{model}: has the same weights as {base}; nothing to extract")
    out.mkdir(parents=True, exist_ok=True)
    save_weights(tensors, out / _WEIGHTS)
    # The matrices include their scale.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(modules), task_type="CAUSAL_LM")
    config.base_model_name_or_path = str(base)
    config.inference_mode = True
    config.save_pretrained(str(out))
    return held / whole


def _changes(before: _Weights, after: _Weights, base: Path, model: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The layer matrices that changed, with their change."""
    for name in sorted(before.keys()):
        was, now = before[name], after[name]
        if was.shape != now.shape:
            raise ConfigError(f"{model}: {name} has the shape {list(now.shape)}, in {base} {list(was.shape)}")
        if torch.equal(was, now):
            continue
        if was.ndim != 2 or ".layers." not in name:
            raise ConfigError(
                f"{model}: differs from {base} in {name}, which an adapter cannot hold; ship whole weights"
            )
        yield name, now.float() - was.float()


class _Weights:
    """The weights of a model folder by name, loaded one at a time."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._files: Mapping[str, Any] = {
            name: file
            for path in sorted(folder.glob("model*.safetensors"))
            for file in [stack.enter_context(safe_open(str(path), framework="pt"))]
            for name in file.keys()  # noqa: SIM118 (no mapping)
        }
        if not self._files:
            raise ConfigError(f"{folder}: no weights in it (model*.safetensors)")

    def keys(self) -> set[str]:
        return set(self._files)

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._files[name].get_tensor(name)
        return tensor
