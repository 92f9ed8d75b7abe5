"""LoRA adapters inside a graph: several at once, chosen token by token.

All adapters' matrices of one module stand side by side in the graph, and a mask that each token picks by the number of
its adapter silences the others. So one batch may mix adapters, over one base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    # What reads the same states, such as queries, keys and values, narrows them in one product.
    together: dict[tuple[str, int], list[str]] = {}
    for module in sorted({module for adapter in adapters for module in adapter.down}):
        states = products[module].input_value(0)
        together.setdefault((states.get_node().get_friendly_name(), states.get_index()), []).append(module)
    masks: dict[tuple[int, ...], Any] = {}
    for modules in together.values():
        _insert({module: products[module] for module in modules}, adapters, chosen, masks)
    graph.add_parameters([chosen])
    graph.validate_nodes_and_infer_types()


def _mask(chosen: Any, ranks: Sequence[Sequence[int]]) -> Any:
    """(tokens, 1, all ranks): 1 where the token's own adapter is; `ranks` are each module's, adapter by adapter."""
    rows = [np.zeros(sum(map(sum, ranks)), np.float32)]
    for number in range(len(ranks[0])):
        own = [np.full(rank, other == number) for of_module in ranks for other, rank in enumerate(of_module)]
        rows.append(np.concatenate(own).astype(np.float32))
    first = ops.constant(np.int64(0))
    return ops.unsqueeze(ops.gather(ops.constant(np.stack(rows)), chosen, first), ops.constant(np.int64(1)))


def _insert(
    products: Mapping[str, Any], adapters: Sequence[Adapter], chosen: Any, masks: dict[tuple[int, ...], Any]
) -> None:
    """Change the products of modules that read the same states."""
    ranks = [[_rank(adapter, module) for adapter in adapters] for module in products]
    flat = tuple(rank for of_module in ranks for rank in of_module)
    if flat not in masks:
        masks[flat] = _mask(chosen, ranks)
    downs, ups = [], []
    for module, product in products.items():
        using = [adapter for adapter in adapters if module in adapter.down]
        downs.append(np.concatenate([adapter.down[module] for adapter in using]))
        ups.append(np.concatenate([adapter.up[module] for adapter in using], axis=1))
        outer, inner = product.input_value(1).get_partial_shape()
        if downs[-1].shape[1] != inner.get_length() or ups[-1].shape[0] != outer.get_length():
            raise ConfigError(f"{using[0].folder}: made for another base; {module} is of another size")
    states = next(iter(products.values())).input_value(0)
    narrow = ops.multiply(ops.matmul(states, _half(np.concatenate(downs)), False, True), masks[flat])
    sizes = np.asarray([sum(of_module) for of_module in ranks], np.int64)
    parts = ops.variadic_split(narrow, ops.constant(np.int64(2)), ops.constant(sizes)).outputs()
    for product, part, up in zip(products.values(), parts, ups, strict=True):
        readers = list(product.output(0).get_target_inputs())
        changed = ops.add(product, ops.matmul(part, _half(up), False, True))
        for reader in readers:
            reader.replace_source_output(changed.output(0))


def _rank(adapter: Adapter, module: str) -> int:
    return adapter.down[module].shape[0] if module in adapter.down else 0


def _half(weight: NDArray[np.float32]) -> Any:
    """In half precision: adapters are trained in no more."""
    return ops.convert(ops.constant(weight.astype(np.float16)), "f32")
