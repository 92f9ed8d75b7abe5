"""Builds a decoder of Llama's kind as an OpenVINO graph, with int8 weights where that pays.

Weights in groups of 32 share a scale; small models stay as they are. The matrix products carry transformers' names for
their modules, such as `model.layers.0.self_attn.q_proj`, by which LoRA adapters find them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray
from openvino.op.util import Variable, VariableInfo

from spar_core.backends.openvino.source import ModelSource

_END: Final = 2**62
# Weights that share a scale, as in the GGUF files of four bits and eight.
_GROUP: Final = 32
# The least number of half precision that is not denormal.
_LEAST_SCALE: Final = np.float32(6.2e-5)


def build_graph(source: ModelSource, *, quantize: bool) -> ov.Model:
    """The graph with its keys and values as states, in the form that can be saved and that OpenVINO can page."""
    return _Builder(source, quantize=quantize).build()


class _Builder:
    def __init__(self, source: ModelSource, *, quantize: bool) -> None:
        self._source = source
        self._quantize = quantize
        self._shape = source.shape
        self._sinks: list[Any] = []
        self._ids = _input("input_ids", np.int64, 2)
        self._positions = _input("position_ids", np.int64, 2)
        self._mask = _input("attention_mask", np.int64, 2)
        self._beams = _input("beam_idx", np.int32, 1)

    def build(self) -> ov.Model:
        embedding = self._weight("model.embed_tokens.weight")
        self._batch = ops.gather(ops.shape_of(self._ids, "i64"), _ints([0]), _ints(0))
        self._cos, self._sin = self._rotation()
        # Paging takes the place of the mask; the transformation only looks for one.
        self._seen = ops.unsqueeze(ops.unsqueeze(ops.convert(self._mask, "f32"), _ints(1)), _ints(1))
        states = ops.gather(embedding, self._ids, _ints(0))
        for layer in range(self._shape.layers):
            states = self._layer(states, f"model.layers.{layer}")
        states = self._norm(states, "model.norm")
        head = self._weight("lm_head.weight") if "lm_head.weight" in self._source else embedding
        logits = ops.matmul(states, head, False, True)
        logits.set_friendly_name("lm_head")
        logits.output(0).set_names({"logits"})
        inputs = [self._ids, self._positions, self._mask, self._beams]
        return ov.Model([ops.result(logits, name="logits")], self._sinks, inputs, "decoder")

    def _rotation(self) -> tuple[Any, Any]:
        size = self._shape.head_size
        frequencies = self._shape.rope_theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
        positions = ops.unsqueeze(ops.convert(self._positions, "f32"), _ints(2))
        half = ops.multiply(positions, ops.constant(frequencies.astype(np.float32).reshape(1, 1, -1)))
        angles = ops.concat([half, half], -1)
        return ops.unsqueeze(ops.cos(angles), _ints(1)), ops.unsqueeze(ops.sin(angles), _ints(1))

    def _layer(self, states: Any, name: str) -> Any:
        shape = self._shape
        normed = self._norm(states, f"{name}.input_layernorm")
        attention = f"{name}.self_attn"
        query = self._heads(self._linear(normed, f"{attention}.q_proj"), shape.heads)
        key = self._heads(self._linear(normed, f"{attention}.k_proj"), shape.kv_heads)
        value = self._heads(self._linear(normed, f"{attention}.v_proj"), shape.kv_heads)
        if f"{attention}.q_norm.weight" in self._source:
            query, key = self._norm(query, f"{attention}.q_norm"), self._norm(key, f"{attention}.k_norm")
        keys = self._past(self._rotated(key), f"{name}.key")
        values = self._past(value, f"{name}.value")
        mixed = ops.scaled_dot_product_attention(self._rotated(query), keys, values, self._seen)
        joined = ops.transpose(mixed, _ints([0, 2, 1, 3]))
        joined = ops.reshape(joined, _ints([0, 0, shape.heads * shape.head_size]), True)
        states = ops.add(states, self._linear(joined, f"{attention}.o_proj"))
        normed = self._norm(states, f"{name}.post_attention_layernorm")
        gate = ops.swish(self._linear(normed, f"{name}.mlp.gate_proj"))
        widened = ops.multiply(gate, self._linear(normed, f"{name}.mlp.up_proj"))
        return ops.add(states, self._linear(widened, f"{name}.mlp.down_proj"))

    def _heads(self, states: Any, heads: int) -> Any:
        split = ops.reshape(states, _ints([0, 0, heads, self._shape.head_size]), True)
        return ops.transpose(split, _ints([0, 2, 1, 3]))

    def _rotated(self, states: Any) -> Any:
        half = self._shape.head_size // 2
        first = ops.slice(states, _ints([0]), _ints([half]), _ints([1]), _ints([3]))
        second = ops.slice(states, _ints([half]), _ints([_END]), _ints([1]), _ints([3]))
        minus = ops.constant(np.full((1, 1, 1, 1), -1, np.float32))
        turned = ops.concat([ops.multiply(second, minus), first], -1)
        return ops.add(ops.multiply(states, self._cos), ops.multiply(turned, self._sin))

    def _past(self, states: Any, name: str) -> Any:
        """All keys or values up to here, once for each query head."""
        shape = self._shape
        info = VariableInfo()
        info.variable_id = name
        info.data_type = ov.Type.f32
        info.data_shape = ov.PartialShape([-1, shape.kv_heads, -1, shape.head_size])
        variable = Variable(info)
        empty = ops.concat([self._batch, _ints([shape.kv_heads]), _ints([0]), _ints([shape.head_size])], 0)
        past = ops.read_value(ops.broadcast(ops.constant(np.float32(0)), empty), variable)
        whole = ops.concat([ops.gather(past, self._beams, _ints(0)), states], 2)
        self._sinks.append(ops.assign(whole, variable))
        times = shape.heads // shape.kv_heads
        wide = ops.broadcast(ops.unsqueeze(whole, _ints(2)), _ints([1, 1, times, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(wide, _ints([0, shape.heads, -1, shape.head_size]), True)

    def _norm(self, states: Any, name: str) -> Any:
        mean = ops.reduce_mean(ops.power(states, _floats([2])), _ints([-1]), True)
        root = ops.sqrt(ops.add(mean, _floats([self._shape.norm_epsilon])))
        scaled = ops.multiply(states, ops.divide(_floats([1]), root))
        return ops.multiply(scaled, ops.constant(self._source.tensor(f"{name}.weight")))

    def _linear(self, states: Any, name: str) -> Any:
        product = ops.matmul(states, self._weight(f"{name}.weight"), False, True)
        product.set_friendly_name(name)
        if f"{name}.bias" not in self._source:
            return product
        return ops.add(product, ops.constant(self._source.tensor(f"{name}.bias")))

    def _weight(self, name: str) -> Any:
        weight = self._source.tensor(name)
        if not self._quantize:
            return ops.constant(weight)
        rows, columns = weight.shape
        size = _GROUP if columns % _GROUP == 0 else columns
        groups = weight.reshape(rows, -1, size)
        scale = np.maximum(np.abs(groups).max(axis=2, keepdims=True) / 127, _LEAST_SCALE).astype(np.float16)
        whole = np.rint(groups / scale.astype(np.float32)).clip(-127, 127).astype(np.int8)
        scaled = ops.multiply(ops.convert(ops.constant(whole), "f16"), ops.constant(scale))
        return ops.convert(ops.reshape(scaled, _ints([rows, columns]), False), "f32")


def _input(name: str, kind: Any, rank: int) -> Any:
    made = ops.parameter([-1] * rank, kind)
    made.set_friendly_name(name)
    made.output(0).set_names({name})
    return made


def _ints(values: Any) -> Any:
    return ops.constant(np.asarray(values, np.int64))


def _floats(values: Any) -> Any:
    array: NDArray[np.float32] = np.asarray(values, np.float32)
    return ops.constant(array)
