"""Resolve a base model to a folder: from a folder, a GGUF file, or a name on the Hugging Face Hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from spar_core.errors import ConfigError
from spar_core.model_catalog import CATALOG, base_model, pull_shown


def base_folder(base: str, out: Path) -> Path:
    """Return the folder of `base`. A GGUF file is converted to bf16 weights in `out` once.

    A base that is not on this machine is downloaded, with size and progress on stderr if it is of the catalogue.

    Example:
        base_folder("HuggingFaceTB/SmolLM2-135M-Instruct", Path("runs/mine/base"))

    Raises:
        ConfigError: there is no such model, or the GGUF file cannot be read.
    """
    path = Path(base)
    if path.is_dir() and (path / "config.json").is_file():
        return path
    files = [path] if path.suffix == ".gguf" else sorted(path.glob("*.gguf")) if path.is_dir() else []
    if len(files) == 1 and files[0].is_file():
        return _from_gguf(files[0], out)
    if path.exists() or files:
        raise ConfigError(f"--base {base}: neither a model's folder (config.json, weights) nor one GGUF file")
    if _is_known(base):
        found = pull_shown(base).path
        return _from_gguf(found, out) if found.is_file() else found
    return _from_hub(base)


def is_base(base: str, published: str) -> bool:
    """Whether `--base` is the model that is published as `published`; a folder or file is it if it is called like it.

    Example:
        is_base("models/SmolLM2-135M-Instruct.Q4_1.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct")  # True
    """
    name = published.rpartition("/")[2].lower()
    if (path := Path(base)).exists():
        called = path.resolve().name.lower()
        return called == name or (called.startswith(f"{name}.") and path.suffix == ".gguf")
    return base.lower() == published.lower() or (_is_known(base) and base_model(base).repository == published)


def _is_known(name: str) -> bool:
    return any(name.lower() in (known.name, known.repository.lower()) for known in CATALOG.values())


def _from_gguf(file: Path, out: Path) -> Path:
    """Convert a GGUF file. Transformers cannot save a model read from GGUF, so the weights go into a plain one."""
    if (out / "config.json").is_file():
        return out
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        packed: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"--base {file}: cannot be read as GGUF ({error}); pip install gguf, or give a folder"
        ) from error
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain: Any = type(packed)(config).to(torch.bfloat16)
    plain.load_state_dict(packed.state_dict())
    plain.tie_weights()
    scratch = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    plain.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    os.replace(scratch, out)
    return out


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        patterns = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt")
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"--base {name}: no folder, no GGUF file, and not available from Hugging Face: {error}"
        ) from error
