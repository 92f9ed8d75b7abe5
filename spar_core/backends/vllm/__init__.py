"""Models that vLLM runs under this process. Importing this does not load vLLM; creating an engine does."""

from spar_core.backends.vllm.backend import VllmBackend
from spar_core.backends.vllm.engine import VllmEngine

__all__ = ["VllmBackend", "VllmEngine"]
