"""GGUF files: what is read of them, and that a model in one is the model that it was made of."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from spar_core.backends.openvino.source import open_source
from spar_core.errors import ConfigError
from spar_core.gguf import GgufFile


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack("<IIQ", 9, 5, len(value)) + np.asarray(value, np.int32).tobytes()


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, tuple[int, tuple[int, ...], bytes]]) -> None:
    """`tensors` by name: the type's number, the shape with rows first, and the bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    data = b""
    for name, (kind, shape, content) in tensors.items():
        data += b"\0" * (-len(data) % 32)
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += content
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)


def test_every_type_is_read_as_the_numbers_that_it_stands_for(tmp_path: Path) -> None:
    numbers = np.linspace(-1, 1, 32, dtype=np.float32)
    nibbles = np.arange(32) % 16
    packed = (nibbles[:16] | nibbles[16:] << 4).astype(np.uint8).tobytes()
    scale, least = np.float16(0.5), np.float16(-2)
    whole = np.arange(-16, 16, dtype=np.int8)
    write_gguf(
        tmp_path / "m.gguf",
        {"a.text": "x", "a.list": ["y", "z"], "a.number": 7, "a.numbers": [1, 2]},
        {
            "f32": (0, (2, 16), numbers.tobytes()),
            "f16": (1, (32,), numbers.astype(np.float16).tobytes()),
            "bf16": (30, (32,), (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()),
            "q4_0": (2, (1, 32), scale.tobytes() + packed),
            "q4_1": (3, (1, 32), scale.tobytes() + least.tobytes() + packed),
            "q8_0": (8, (1, 32), scale.tobytes() + whole.tobytes()),
            "other": (12, (256,), b"\0" * 144),
        },
    )
    file = GgufFile(tmp_path / "m.gguf")
    assert file.metadata == {"a.text": "x", "a.list": ["y", "z"], "a.number": 7, "a.numbers": [1, 2]}
    assert np.array_equal(file.tensor("f32"), numbers.reshape(2, 16))
    assert np.array_equal(file.tensor("f16"), numbers.astype(np.float16).astype(np.float32))
    assert np.allclose(file.tensor("bf16"), numbers, atol=0.01)
    assert np.array_equal(file.tensor("q4_0"), (nibbles - 8.0)[None] * 0.5)
    assert np.array_equal(file.tensor("q4_1"), nibbles[None] * 0.5 - 2)
    assert np.array_equal(file.tensor("q8_0"), whole[None] * 0.5)
    with pytest.raises(ConfigError, match="other is of GGUF type 12; use a file of F32"):
        file.tensor("other")
    with pytest.raises(ConfigError, match="has no tensor missing"):
        file.tensor("missing")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\3\4" + b"\0" * 100, b"GGUF" + struct.pack("<IQQ", 9, 0, 0)])
def test_what_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ConfigError, match="not a readable GGUF file"):
        GgufFile(tmp_path / "m.gguf")


def test_a_model_in_a_gguf_has_the_weights_and_the_tokenizer_that_it_was_made_of(tmp_path: Path) -> None:
    tokens = ["<|end|>", "<|start|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_theta=5000.0, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    weights = {name: value.numpy() for name, value in LlamaForCausalLM(config).state_dict().items()}
    metadata = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 32,
        "llama.feed_forward_length": 48, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
        "llama.context_length": 64, "llama.rope.freq_base": 5000.0, "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens) - 2)],
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 0, "tokenizer.chat_template": "template",
    }  # fmt: skip
    write_gguf(tmp_path / "m.gguf", metadata, dict(_stored(name, weight) for name, weight in weights.items()))
    source = open_source(tmp_path / "m.gguf")
    for name, weight in weights.items():
        if name != "lm_head.weight":
            assert np.array_equal(source.tensor(name), weight), name
    assert "lm_head.weight" not in source
    assert (source.shape.context, source.shape.rope_theta, source.shape.head_size) == (64, 5000.0, 8)
    assert (source.end_tokens(), source.chat_template()) == ((0,), "template")
    assert source.template_tokens() == {"bos_token": "<|start|>", "eos_token": "<|end|>"}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(source.tokenizer_json())
    ids = tokenizer.encode("<|start|>ab 12").ids
    assert [tokenizer.id_to_token(token) for token in ids] == ["<|start|>", "ab", "Ġ", "1", "2"]
    assert tokenizer.decode(ids) == "ab 12"


_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "lm_head": "tied", "model.layers": "blk",
}  # fmt: skip


def _stored(name: str, weight: Any) -> tuple[str, tuple[int, tuple[int, ...], bytes]]:
    """As llama.cpp's converter stores it: other names, and the rotated halves of queries and keys interleaved."""
    for heads, part in ((4, "q_proj"), (2, "k_proj")):
        if part in name:
            weight = weight.reshape(heads, 2, 4, 32).swapaxes(1, 2).reshape(weight.shape)
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    return name, (0, weight.shape, np.ascontiguousarray(weight).tobytes())
