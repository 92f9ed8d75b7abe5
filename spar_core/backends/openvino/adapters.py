"""LoRA adapters inside a graph: several at once, chosen token by token.

All adapters' matrices of one module stand side by side in the graph, and a mask that each token picks by the number of
its adapter silences the others. So one batch may mix adapters, over one base.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray

from spar_core.backends.openvino.safetensors import SafetensorsFiles
from spar_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter's matrices by module, such as `model.layers.0.self_attn.q_proj`; the scale is in `up` already."""

    folder: Path
    down: dict[str, NDArray[np.float32]]
    up: dict[str, NDArray[np.float32]]


def load_adapter(folder: Path) -> Adapter:
    """An adapter as peft saves it.

    Raises:
        ConfigError: there is none, or it is of a kind that cannot be applied here.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder}: no LoRA adapter here (adapter_config.json with r and lora_alpha)") from error
    for option in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias"):
        if config.get(option):
            raise ConfigError(f"{folder}: {option} is not supported; merge the adapter into its base instead")
    scale = alpha / np.sqrt(rank) if config.get("use_rslora") else alpha / rank
    weights = SafetensorsFiles(folder / "adapter_model.safetensors")
    adapter = Adapter(folder, {}, {})
    for name in weights:
        module, _, end = name.removeprefix("base_model.model.").partition(".lora_")
        if end == "A.weight":
            adapter.down[module] = weights.tensor(name)
        elif end == "B.weight":
            adapter.up[module] = weights.tensor(name) * np.float32(scale)
        else:
            raise ConfigError(f"{folder}: {name} is no matrix of a LoRA adapter")
    return adapter


def insert_adapters(graph: ov.Model, adapters: Sequence[Adapter]) -> None:
    """Add them to the graph, which then has an input `adapter_ids`: of each token the adapter's number from 1, or 0.

    Raises:
        ConfigError: an adapter is for modules or sizes that the graph does not have.
    """
    products = {node.get_friendly_name(): node for node in graph.get_ops() if node.get_type_name() == "MatMul"}
    for adapter in adapters:
        missing = sorted(adapter.down.keys() - products.keys())
        if missing:
            raise ConfigError(f"{adapter.folder}: made for another base; this one has no {missing[0]}")
    chosen = ops.parameter([-1], np.int64)
    chosen.set_friendly_name("adapter_ids")
    chosen.output(0).set_names({"adapter_ids"})
    masks: dict[tuple[int, ...], Any] = {}
    for module in sorted({module for adapter in adapters for module in adapter.down}):
        using = [(number, one) for number, one in enumerate(adapters, start=1) if module in one.down]
        ranks = tuple(one.down[module].shape[0] if module in one.down else 0 for one in adapters)
        if ranks not in masks:
            masks[ranks] = _mask(chosen, ranks)
        _insert(products[module], [one for _, one in using], module, masks[ranks])
    graph.add_parameters([chosen])
    graph.validate_nodes_and_infer_types()


def _mask(chosen: Any, ranks: Sequence[int]) -> Any:
    """(tokens, 1, all ranks): 1 where the token's own adapter is."""
    table = np.zeros((len(ranks) + 1, sum(ranks)), np.float32)
    ends = np.cumsum([0, *ranks])
    for number in range(len(ranks)):
        table[number + 1, ends[number] : ends[number + 1]] = 1
    return ops.unsqueeze(ops.gather(ops.constant(table), chosen, ops.constant(np.int64(0))), ops.constant(np.int64(1)))


def _insert(product: Any, adapters: Sequence[Adapter], module: str, mask: Any) -> None:
    readers = list(product.output(0).get_target_inputs())
    states = product.input_value(0)
    down = np.concatenate([adapter.down[module] for adapter in adapters])
    up = np.concatenate([adapter.up[module] for adapter in adapters], axis=1)
    inner, outer = product.input_value(1).get_partial_shape()[1], product.input_value(1).get_partial_shape()[0]
    if down.shape[1] != inner.get_length() or up.shape[0] != outer.get_length():
        raise ConfigError(f"{adapters[0].folder}: made for another base; {module} is of another size")
    narrow = ops.multiply(ops.matmul(states, _half(down), False, True), mask)
    change = ops.matmul(narrow, _half(up), False, True)
    changed = ops.add(product, change)
    for reader in readers:
        reader.replace_source_output(changed.output(0))


def _half(weight: NDArray[np.float32]) -> Any:
    """In half precision: adapters are trained in no more."""
    return ops.convert(ops.constant(weight.astype(np.float16)), "f32")
