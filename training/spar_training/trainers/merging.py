"""Merge a LoRA adapter into its base, so that a training, or a run of self-play, can start from whole weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from spar_core.errors import ConfigError
from spar_core.model_folder import named_folder
from spar_training.bootstrap.verifiers.base import base_folder

_CONFIG = "adapter_config.json"


def merge_adapter(adapter: Path, out: Path, *, base: str | None = None) -> Path:
    """Write the model that the adapter makes of its base to the folder `out`, in bf16 with the base's tokenizer.

    Adapters of a shipped pair can be given as `spar-135m/actor`. `base` is a folder, a GGUF file or a name; by default
    the one that the adapter names.

    Example:
        merge_adapter(Path("spar-135m/actor"), Path("runs/start/actor"))

    Raises:
        ConfigError: `adapter` holds no adapter, its base cannot be found, or `out` exists.
    """
    adapter = named_folder(adapter.parent) / adapter.name
    try:
        named = json.loads((adapter / _CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{adapter}: not the folder of an adapter: {_CONFIG} is missing or damaged") from error
    if out.exists():
        raise ConfigError(f"--out {out}: exists already; give a folder that does not")
    scratch = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        source = base_folder(base or named, scratch / "base")
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        whole = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        whole.to(torch.bfloat16).save_pretrained(scratch / "merged")
        AutoTokenizer.from_pretrained(source).save_pretrained(scratch / "merged")
        os.replace(scratch / "merged", out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out
