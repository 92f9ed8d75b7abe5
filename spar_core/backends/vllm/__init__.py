"""Models that vLLM runs under this process. Importing this loads no vLLM; an engine does, when it is made."""

from spar_core.backends.vllm.backend import VllmBackend
from spar_core.backends.vllm.engine import VllmEngine

__all__ = ["VllmBackend", "VllmEngine"]
