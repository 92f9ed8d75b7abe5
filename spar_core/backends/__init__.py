"""Backends: a model behind an OpenAI URL, in this process, scripted, or a pool of several.

Importing this loads none of them; a name loads its backend when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spar_core.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from spar_core.backends.base import Backend as Backend
    from spar_core.backends.local import LocalBackend as LocalBackend
    from spar_core.backends.local import LocalEngine as LocalEngine
    from spar_core.backends.openai import OpenAIBackend as OpenAIBackend
    from spar_core.backends.openai import Timeouts as Timeouts
    from spar_core.backends.openvino import OpenVinoBackend as OpenVinoBackend
    from spar_core.backends.openvino import OpenVinoEngine as OpenVinoEngine
    from spar_core.backends.pool import PoolBackend as PoolBackend
    from spar_core.backends.scripted import ScriptedBackend as ScriptedBackend
    from spar_core.backends.vllm import VllmBackend as VllmBackend
    from spar_core.backends.vllm import VllmEngine as VllmEngine

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "spar_core.backends.base": ("Backend",),
        "spar_core.backends.local": ("LocalBackend", "LocalEngine"),
        "spar_core.backends.openai": ("OpenAIBackend", "Timeouts"),
        "spar_core.backends.openvino": ("OpenVinoBackend", "OpenVinoEngine"),
        "spar_core.backends.pool": ("PoolBackend",),
        "spar_core.backends.scripted": ("ScriptedBackend",),
        "spar_core.backends.vllm": ("VllmBackend", "VllmEngine"),
    },
)
