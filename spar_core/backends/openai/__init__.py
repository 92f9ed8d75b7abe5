"""Any OpenAI-compatible server."""

from spar_core.backends.openai.backend import OpenAIBackend
from spar_core.backends.openai.timeouts import Timeouts

__all__ = ["OpenAIBackend", "Timeouts"]
