"""Small models of the recipes' architectures: random weights, a tokenizer trained here, the family's chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GenerationConfig,
    GlmConfig,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

TEXTS = ("Tell me about the river. Do not use commas.", "The river runs by the mill and turns north.", "Yes or No?")

LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# An answer ends where the next turn begins.
GLM_CHAT = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# The system prompt is part of the last user turn; roles must alternate.
MISTRAL_CHAT = (
    "{{ bos_token }}{% set chat = messages %}{% if messages[0]['role'] == 'system' %}{% set chat = messages[1:] %}"
    "{% endif %}{% for m in chat %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n\n{% endif %}"
    "{{ m['content'] }}[/INST]{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """A family's chat template and special tokens; its models stop at `ends`."""

    chat: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    ends: tuple[str, ...]
    config: type[Any]
    model: type[Any]
    shape: Mapping[str, Any]


_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
_LLAMA = {
    "chat": LLAMA_CHAT,
    "special": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "bos": "<|begin_of_text|>",
    "eos": "<|eot_id|>",
    "ends": ("<|end_of_text|>", "<|eot_id|>"),
    "config": LlamaConfig,
    "model": LlamaForCausalLM,
}
FAMILIES = {
    "llama3-8b": Family(
        **_LLAMA, shape={**_SMALL, "num_attention_heads": 4, "num_key_value_heads": 1, "rope_theta": 500000.0}
    ),
    "llama3-70b": Family(
        **_LLAMA, shape={**_SMALL, "num_attention_heads": 8, "num_key_value_heads": 1, "rope_theta": 500000.0}
    ),
    "glm4-9b": Family(
        chat=GLM_CHAT,
        special=("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        bos=None,
        eos="<|endoftext|>",
        ends=("<|endoftext|>", "<|user|>", "<|observation|>"),
        config=GlmConfig,
        model=GlmForCausalLM,
        shape={
            **_SMALL,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "attention_bias": True,
            "pad_token_id": 0,
        },
    ),
    "mistral-7b": Family(
        chat=MISTRAL_CHAT,
        special=("<s>", "</s>", "[INST]", "[/INST]"),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        config=MistralConfig,
        model=MistralForCausalLM,
        shape={**_SMALL, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": None},
    ),
}


def build_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A byte-level BPE that adds the BOS token, like these families' tokenizers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(family.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if family.bos:
        begins = (family.bos, tokenizer.token_to_id(family.bos))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{family.bos} $A", special_tokens=[begins])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=family.bos, eos_token=family.eos)
    made.add_special_tokens({"additional_special_tokens": list(family.special)})
    made.chat_template = family.chat
    return made


def build_model(name: str, folder: Path) -> Path:
    """Write a model of the family with random weights."""
    family = FAMILIES[name]
    tokenizer = build_tokenizer(family)
    torch.manual_seed(0)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in family.ends]
    config = family.config(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, **family.shape
    )
    model = family.model(config)
    model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
