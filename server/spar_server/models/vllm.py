"""Models that vLLM runs in this process. Those with the same base share an engine, each with its own adapter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spar_core.backends.vllm import VllmBackend, VllmEngine
from spar_server.settings import VllmModel

# vLLM's default share of a GPU's memory, divided among the engines.
_MEMORY: Final = 0.9


class VllmModels:
    """Loads the engines for `models`, each with the same `arguments`.

    Raises:
        ConfigError: an engine cannot be started; no engine is left running.
    """

    def __init__(self, models: Sequence[VllmModel], *, arguments: Mapping[str, Any], log_level: str) -> None:
        adapters: dict[str, list[str]] = {}
        for model in models:
            adapters.setdefault(model.vllm, []).extend([model.adapter] if model.adapter else [])
        if adapters:
            # vLLM reads this once, when it is imported. By default it logs every request.
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
        """A backend for one of the models, named after the last path component of its adapter or base."""
        name = Path(model.adapter or model.vllm).name
        return VllmBackend(self._engines[model.vllm], name, adapter=model.adapter)
