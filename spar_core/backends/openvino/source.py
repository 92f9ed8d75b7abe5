"""A model on disk, as the graph builder wants it: its shape, its weights by name, its tokenizer and chat template.

Two forms can be read, neither of which needs torch: a GGUF file, and a folder as `save_pretrained` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spar_core.backends.openvino.safetensors import SafetensorsFiles
from spar_core.errors import ConfigError
from spar_core.gguf import GgufFile

# Architectures that differ from Llama in what the weights' names tell: biases, and norms of queries and keys.
_ARCHITECTURES: Final = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_GGUF_CONTROL_TOKEN: Final = 3
_GGUF_USER_TOKEN: Final = 4
# Of a GGUF's pre-tokenizers, those of byte-level BPE that splits digits one by one and the rest as GPT-2 does.
_DIGIT_SPLITTING: Final = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})
_GPT2: Final = frozenset({"gpt-2", "gpt2", "default"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a decoder of Llama's kind is made of. Sizes count elements, `context` tokens."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    rope_theta: float
    norm_epsilon: float

    @property
    def elements(self) -> int:
        """Of all matrices, about."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_size
        return self.hidden * (self.vocabulary + self.layers * (attention + 3 * self.intermediate))


class ModelSource(Protocol):
    """A model on disk. Weights go by the names that transformers gives them."""

    shape: Shape

    def __contains__(self, name: str) -> bool: ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A weight such as `model.layers.0.self_attn.q_proj.weight`."""
        ...

    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        ...

    def tokenizer_json(self) -> str:
        """The tokenizer, as the library `tokenizers` writes it."""
        ...

    def chat_template(self) -> str | None:
        """Jinja, None where the model has none."""
        ...

    def template_tokens(self) -> Mapping[str, str]:
        """Special tokens that a chat template may name, such as `bos_token`."""
        ...


def open_source(path: Path) -> ModelSource:
    """A GGUF file or a model's folder.

    Raises:
        ConfigError: there is no model, or one that this engine cannot run.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return GgufSource(path)
    raise ConfigError(f"{path}: no model here; give a folder with config.json, or a .gguf file")


def can_run(path: Path) -> bool:
    """Whether this engine knows the architecture of the model there, if there is one."""
    try:
        open_source(path)
    except ConfigError:
        return False
    return True


class FolderSource:
    """A folder with config.json, safetensors and tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = self._json("config.json", needed=True)
        kind = self._config.get("model_type")
        if kind not in _ARCHITECTURES:
            raise ConfigError(
                f"{folder}: the OpenVINO engine cannot run the architecture {kind} (it runs "
                f"{', '.join(sorted(_ARCHITECTURES))}); for transformers' own: pip install 'spar-server[embedded]'"
            )
        self.shape = _folder_shape(self._config, folder)
        self._weights = SafetensorsFiles(folder)

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def tensor(self, name: str) -> NDArray[np.float32]:
        return self._weights.tensor(name)

    def end_tokens(self) -> tuple[int, ...]:
        ends = self._json("generation_config.json").get("eos_token_id", self._config.get("eos_token_id"))
        if ends is None:
            token = self.template_tokens().get("eos_token")
            vocabulary = json.loads(self.tokenizer_json())["added_tokens"]
            ends = [added["id"] for added in vocabulary if added["content"] == token]
        return tuple(ends) if isinstance(ends, list) else (int(ends),)

    def tokenizer_json(self) -> str:
        file = self._folder / "tokenizer.json"
        if not file.is_file():
            raise ConfigError(f"{self._folder}: tokenizer.json is missing; save the tokenizer with a fast tokenizer")
        return file.read_text(encoding="utf-8")

    def chat_template(self) -> str | None:
        file = self._folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        template = self._json("tokenizer_config.json").get("chat_template")
        if isinstance(template, list):
            template = next((each["template"] for each in template if each.get("name") == "default"), None)
        return template

    def template_tokens(self) -> Mapping[str, str]:
        config = self._json("tokenizer_config.json")
        found = {name: value for name, value in config.items() if name.endswith("_token")}
        texts = {name: value["content"] if isinstance(value, dict) else value for name, value in found.items()}
        return {name: text for name, text in texts.items() if isinstance(text, str)}

    def _json(self, name: str, *, needed: bool = False) -> dict[str, Any]:
        file = self._folder / name
        if not file.is_file():
            if needed:
                raise ConfigError(f"{self._folder}: no model here ({name} is missing)")
            return {}
        try:
            read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{file}: not valid JSON: {error}") from error
        return read


def _folder_shape(config: Mapping[str, Any], folder: Path) -> Shape:
    rope = config.get("rope_parameters") or {}
    scaling = rope.get("rope_type") or (config.get("rope_scaling") or {}).get("rope_type") or "default"
    if scaling != "default":
        raise ConfigError(f"{folder}: RoPE scaling of type {scaling} is not supported by the OpenVINO engine")
    heads = int(config["num_attention_heads"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
        vocabulary=int(config["vocab_size"]),
        # Up to its window, a model with sliding attention does what one without does.
        context=min(filter(None, (config["max_position_embeddings"], _window(config)))),
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        norm_epsilon=float(config["rms_norm_eps"]),
    )


def _window(config: Mapping[str, Any]) -> int | None:
    return config.get("sliding_window") if config.get("use_sliding_window", True) else None


class GgufSource:
    """A GGUF file whose tokenizer is byte-level BPE."""

    def __init__(self, path: Path) -> None:
        self._file = GgufFile(path)
        self._path = path
        self._architecture = self._file.metadata.get("general.architecture")
        if self._architecture not in _ARCHITECTURES:
            raise ConfigError(
                f"{path}: the OpenVINO engine cannot run the architecture {self._architecture}; "
                f"it runs {', '.join(sorted(_ARCHITECTURES))}"
            )
        self.shape = self._read_shape()

    def _read_shape(self) -> Shape:
        hidden, heads = int(self._key("embedding_length")), int(self._key("attention.head_count"))
        return Shape(
            layers=int(self._key("block_count")),
            hidden=hidden,
            intermediate=int(self._key("feed_forward_length")),
            heads=heads,
            kv_heads=int(self._key("attention.head_count_kv", heads)),
            head_size=int(self._key("attention.key_length", hidden // heads)),
            vocabulary=len(self._metadata("tokenizer.ggml.tokens")),
            context=int(self._key("context_length")),
            rope_theta=float(self._key("rope.freq_base", 10_000.0)),
            norm_epsilon=float(self._key("attention.layer_norm_rms_epsilon")),
        )

    def __contains__(self, name: str) -> bool:
        return _gguf_name(name) in self._file

    def tensor(self, name: str) -> NDArray[np.float32]:
        read = self._file.tensor(_gguf_name(name))
        if self._architecture in ("llama", "mistral"):
            # These are stored with each head's rotated pairs side by side.
            if ".q_proj." in name:
                return _unpermuted(read, self.shape.heads)
            if ".k_proj." in name:
                return _unpermuted(read, self.shape.kv_heads)
        return read

    def end_tokens(self) -> tuple[int, ...]:
        return (int(self._metadata("tokenizer.ggml.eos_token_id")),)

    def tokenizer_json(self) -> str:
        from tokenizers import AddedToken, Tokenizer, decoders, models

        tokens: Sequence[str] = self._metadata("tokenizer.ggml.tokens")
        merges = [tuple(merge.split(" ")) for merge in self._metadata("tokenizer.ggml.merges")]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = self._pre_tokenizer()
        tokenizer.decoder = decoders.ByteLevel()
        kinds = self._metadata("tokenizer.ggml.token_type")
        for token, kind in zip(tokens, kinds, strict=True):
            if kind in (_GGUF_CONTROL_TOKEN, _GGUF_USER_TOKEN):
                control = kind == _GGUF_CONTROL_TOKEN
                tokenizer.add_tokens([AddedToken(token, special=control, normalized=False)])
        return str(tokenizer.to_str())

    def _pre_tokenizer(self) -> Any:
        from tokenizers import pre_tokenizers

        kind = self._metadata("tokenizer.ggml.pre")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if self._metadata("tokenizer.ggml.model") == "gpt2" and kind in _DIGIT_SPLITTING:
            return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if self._metadata("tokenizer.ggml.model") == "gpt2" and kind in _GPT2:
            return byte_level
        raise ConfigError(f"{self._path}: its tokenizer ({kind}) cannot be read; give the model's folder instead")

    def chat_template(self) -> str | None:
        return self._file.metadata.get("tokenizer.chat_template")

    def template_tokens(self) -> Mapping[str, str]:
        tokens = self._metadata("tokenizer.ggml.tokens")
        numbers = {role: self._file.metadata.get(f"tokenizer.ggml.{role}_token_id") for role in ("bos", "eos")}
        return {f"{role}_token": tokens[number] for role, number in numbers.items() if number is not None}

    def _key(self, name: str, default: float | None = None) -> Any:
        found = self._file.metadata.get(f"{self._architecture}.{name}", default)
        return self._metadata(f"{self._architecture}.{name}") if found is None else found

    def _metadata(self, name: str) -> Any:
        try:
            return self._file.metadata[name]
        except KeyError:
            raise ConfigError(f"{self._path}: {name} is missing in its metadata; download the file again") from None


_GGUF_PARTS: Final = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_GGUF_ENDS: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def _gguf_name(name: str) -> str:
    if name in _GGUF_ENDS:
        return _GGUF_ENDS[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_GGUF_PARTS[part]}.{kind}"


def _unpermuted(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
