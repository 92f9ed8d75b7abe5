"""Opening a model in this process by the engine that suits the machine and the model."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from spar_core.backends.in_process.backend import Engine
from spar_core.errors import ConfigError

_INSTALL_OPENVINO: Final = "pip install 'spar-server[openvino]'"
_INSTALL_TRANSFORMERS: Final = "pip install 'spar-server[embedded]'"


class OpenedModel(Protocol):
    """An engine, and its views for each adapter; None is the model as it is."""

    def adapted(self, adapter: Path | None) -> Engine: ...


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """`slots` requests generate together; `cache_mib` bounds the memory for keys and values; `threads` are CPU cores.

    None is the engine's own default.
    """

    slots: int | None = None
    cache_mib: int | None = None
    threads: int | None = None

    def arguments(self) -> dict[str, Any]:
        """As both engines take them."""
        named = {"max_slots": self.slots, "cache_mib": self.cache_mib, "threads": self.threads}
        return {name: value for name, value in named.items() if value is not None}


def open_model(
    model: Path, *, device: str = "auto", adapters: Sequence[Path] = (), limits: EngineLimits = EngineLimits()
) -> OpenedModel:
    """Load a model: on a GPU by transformers, on a CPU by OpenVINO where that can run it.

    `model` is a folder as `save_pretrained` writes it, or a GGUF file; `device` is auto, cpu, cuda, cuda:N or mps. With
    auto, a GPU is one of CUDA, and what only OpenVINO runs, adapters and GGUF files, is on the CPU beside it.

    Raises:
        ConfigError: the device is not there, what runs the model is not installed, or there is no such model.
    """
    has_openvino = _is_installed("openvino", "tokenizers")
    only_openvino = has_openvino and (bool(adapters) or model.is_file())
    if not (only_openvino and device == "auto") and _on_gpu(device):
        return _by_transformers(model, device, adapters, limits)
    if has_openvino:
        from spar_core.backends.openvino.source import can_run

        if only_openvino or can_run(model) or not _is_installed("torch", "transformers"):
            return _by_openvino(model, adapters, limits)
    if _is_installed("torch", "transformers"):
        return _by_transformers(model, "cpu", adapters, limits)
    raise _not_installed()


def require_engine() -> None:
    """Look whether any engine for models in this process is installed.

    Raises:
        ConfigError: none is; says how to install one.
    """
    if not _is_installed("openvino", "tokenizers") and not _is_installed("torch", "transformers"):
        raise _not_installed()


def _not_installed() -> ConfigError:
    return ConfigError(
        f"a model in this process needs OpenVINO: {_INSTALL_OPENVINO} (on a GPU {_INSTALL_TRANSFORMERS}); "
        "or front a server of yours with --actor-url and --actor-model"
    )


def _on_gpu(device: str) -> bool:
    if device == "cpu":
        return False
    if not _is_installed("torch", "transformers"):
        if device != "auto":
            raise ConfigError(f"device: {device} needs torch and transformers: {_INSTALL_TRANSFORMERS}")
        return False
    if device == "auto" and not _may_have_cuda():
        return False
    # It takes seconds to import.
    import torch

    is_there = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    if device != "auto" and not is_there:
        kind = "MPS" if device == "mps" else "CUDA"
        raise ConfigError(f"device: {device} is asked for and torch finds no {kind} device; use cpu or auto")
    return is_there


def _may_have_cuda() -> bool:
    """Without torch, which takes seconds to ask: whether there is any trace of NVIDIA's driver."""
    return sys.platform == "win32" or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def _is_installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _by_openvino(model: Path, adapters: Sequence[Path], limits: EngineLimits) -> OpenedModel:
    from spar_core.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(model, adapters=adapters, **limits.arguments())


def _by_transformers(model: Path, device: str, adapters: Sequence[Path], limits: EngineLimits) -> OpenedModel:
    if adapters:
        raise ConfigError(
            f"{adapters[0]}: adapters in this process need a CPU and OpenVINO ({_INSTALL_OPENVINO}); "
            "on a GPU serve the pair by vLLM, or merge them into their base"
        )
    if model.is_file():
        raise ConfigError(
            f"{model}: a GGUF file in this process needs a CPU and OpenVINO ({_INSTALL_OPENVINO}); "
            "on a GPU give the model's folder instead"
        )
    from transformers.utils.logging import disable_progress_bar

    from spar_core.backends.local import LocalEngine

    disable_progress_bar()
    return _Single(LocalEngine(model, device=device, **limits.arguments()))


@dataclass(frozen=True, slots=True)
class _Single:
    """An engine without adapters."""

    engine: Engine

    def adapted(self, adapter: Path | None) -> Engine:
        assert adapter is None
        return self.engine
