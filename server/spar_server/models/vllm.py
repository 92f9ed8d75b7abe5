"""The models that vLLM runs in this process: those of one name share an engine, each with its own adapter or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spar_core.backends.vllm import VllmBackend, VllmEngine
from spar_server.settings import VllmModel

# vLLM's own share of a GPU's memory, here divided among the engines.
_MEMORY: Final = 0.9


class VllmModels:
    """Engines for `models`, loaded when this returns. `arguments` are every engine's.

    Raises:
        ConfigError: one of them cannot be started; none is left running then.
    """

    def __init__(self, models: Sequence[VllmModel], *, arguments: Mapping[str, Any], log_level: str) -> None:
        adapters: dict[str, list[str]] = {}
        for model in models:
            adapters.setdefault(model.vllm, []).extend([model.adapter] if model.adapter else [])
        if adapters:
            # vLLM reads it once, when it is imported. It is told of every request otherwise.
            os.environ.setdefault("VLLM_LOGGING_LEVEL", log_level.upper())
        shares = {"gpu_memory_utilization": _MEMORY / len(adapters)} if len(adapters) > 1 else {}
        self._engines: dict[str, VllmEngine] = {}
        try:
            for name, of_model in adapters.items():
                self._engines[name] = VllmEngine(name, adapters=of_model, arguments={**shares, **arguments})
        except BaseException:
            for engine in self._engines.values():
                engine.close()
            raise

    def backend(self, model: VllmModel) -> VllmBackend:
        """One of the models, by the last part of its adapter's or its own name."""
        name = Path(model.adapter or model.vllm).name
        return VllmBackend(self._engines[model.vllm], name, adapter=model.adapter)
