"""Any OpenAI-compatible server."""

from spar_core.backends.openai.backend import OpenAIBackend, Timeouts

__all__ = ["OpenAIBackend", "Timeouts"]
