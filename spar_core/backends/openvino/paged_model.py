"""A compiled graph whose keys and values lie in blocks, one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray
from openvino._offline_transformations import paged_attention_transformation

BLOCK: Final = 32
_COMPILE: Final = {
    "PERFORMANCE_HINT": "LATENCY",
    # With lower precisions a row's result depends on how many rows are computed beside it, so that the same request
    # could get another text on a busy server. int8 products are as quick with it.
    "INFERENCE_PRECISION_HINT": "f32",
}


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence, after `past` others, whose blocks are `blocks`."""

    tokens: Sequence[int]
    past: int
    blocks: Sequence[int]
    adapter: int = 0


class PagedModel:
    """`graph` compiled for this machine's CPU. Block 0 is its own; `grow` makes more.

    `quantized` stores keys and values in eight bits, and lets the products of int8 weights have int8 activations. On
    CPUs whose kernels for eight bits (those for AVX2) let a sequence's result depend on the sequences beside it, keys
    and values keep all bits.
    """

    def __init__(self, graph: ov.Model, *, quantized: bool, threads: int | None = None) -> None:
        paged_attention_transformation(graph)
        _keep_last_rows(graph)
        self._options: dict[str, Any] = {**_COMPILE, **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
        self._compile(graph, "u8" if quantized else "f32")
        if quantized and self._depends_on_company():
            self._compile(graph, "f32")
        # Kernels are made when they are first needed; else the first request would wait for them.
        for tokens in ((0,) * BLOCK, (0,)):
            self.step([Slice(tokens, 0, (0,))])

    def _compile(self, graph: ov.Model, cache_precision: str) -> None:
        options = {**self._options, "KV_CACHE_PRECISION": cache_precision}
        compiled = ov.Core().compile_model(graph, "CPU", options)
        self._request = compiled.create_infer_request()
        names = [one.get_any_name() for one in compiled.inputs]
        self._adapted = "adapter_ids" in names
        self._caches = {
            name: one for name, one in zip(names, compiled.inputs, strict=True) if name.startswith(("key_", "value_"))
        }
        self._empty()

    def _empty(self) -> None:
        self._tensors: dict[str, Any] = {}
        self.blocks = 0
        self.grow(1)

    def _depends_on_company(self) -> bool:
        """Whether sequences get other logits side by side than alone."""
        prompts = [
            tuple((place * (number + 3) + number) % 7 for place in range(BLOCK + 5 * number)) for number in range(4)
        ]
        self.grow(1 + 2 * len(prompts))
        last: list[Slice] = []
        for number, prompt in enumerate(prompts):
            blocks = (1 + 2 * number, 2 + 2 * number)
            self.step([Slice(prompt, 0, blocks[: -(-len(prompt) // BLOCK)])])
            last.append(Slice((number,), len(prompt), blocks))
        alone = [self.step([each])[0].copy() for each in last]
        differs = not np.array_equal(np.stack(alone), self.step(last))
        self._empty()
        return differs

    @property
    def block_bytes(self) -> int:
        """Memory of one block, in bytes."""
        return sum(int(tensor.get_byte_size()) for tensor in self._tensors.values()) // self.blocks

    def grow(self, blocks: int) -> None:
        """Have `blocks` of them, the old ones as they are."""
        for name, port in self._caches.items():
            sizes = [blocks, *(size.get_length() for size in list(port.get_partial_shape())[1:])]
            tensor = ov.Tensor(port.get_element_type(), ov.Shape(sizes))
            content = _bytes(tensor)
            content[:] = 0
            if old := self._tensors.get(name):
                content[: self.blocks] = _bytes(old)
            self._request.set_tensor(name, tensor)
            self._tensors[name] = tensor
        self.blocks = blocks

    def copy_block(self, source: int, target: int) -> None:
        """Make one block's content another's too."""
        for tensor in self._tensors.values():
            content = _bytes(tensor)
            content[target] = content[source]

    def step(self, slices: Sequence[Slice]) -> NDArray[np.float32]:
        """Compute all slices; the logits (slices, vocabulary) after the last token of each, valid until the next."""
        wanted = len(slices)
        if wanted == 1:
            # A row that is alone is computed by other kernels, which round otherwise: it gets company.
            slices = [*slices, Slice((0,), 0, (0,))]
        counts = [len(each.tokens) for each in slices]
        ends = np.cumsum([0, *counts])
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": np.concatenate([np.asarray(each.tokens, np.int64) for each in slices]),
            "position_ids": np.concatenate(
                [np.arange(each.past, each.past + count) for each, count in zip(slices, counts, strict=True)]
            ).astype(np.int64),
            "past_lens": np.asarray([each.past for each in slices], np.int32),
            "subsequence_begins": ends.astype(np.int32),
            "block_indices": np.concatenate([np.asarray(each.blocks, np.int32) for each in slices]),
            "block_indices_begins": np.cumsum([0, *(len(each.blocks) for each in slices)]).astype(np.int32),
            "max_context_len": np.asarray(max(each.past + len(each.tokens) for each in slices), np.int32),
            "last_rows": ends[1:] - 1,
        }
        if self._adapted:
            inputs["adapter_ids"] = np.repeat(np.asarray([each.adapter for each in slices], np.int64), counts)
        for name, value in inputs.items():
            self._request.set_tensor(name, ov.Tensor(value))
        self._request.infer()
        logits: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return logits.reshape(len(slices), -1)[:wanted]


def _bytes(tensor: Any) -> NDArray[np.uint8]:
    """(blocks, bytes of each): the tensor's memory, whatever its type."""
    content: NDArray[np.uint8] = tensor.data.reshape(tensor.get_shape()[0], -1).view(np.uint8)
    return content


def _keep_last_rows(graph: ov.Model) -> None:
    """Compute logits for the rows that `last_rows` names and no others."""
    head = graph.get_results()[0].input_value(0).get_node()
    rows = ops.parameter([-1], np.int64)
    rows.set_friendly_name("last_rows")
    rows.output(0).set_names({"last_rows"})
    head.input(0).replace_source_output(ops.gather(head.input_value(0), rows, ops.constant(np.int64(0))).output(0))
    graph.add_parameters([rows])
    graph.validate_nodes_and_infer_types()
