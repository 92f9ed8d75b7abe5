"""Models on any OpenAI-compatible server."""

from spar_core.backends.openai.backend import OpenAIBackend
from spar_core.backends.openai.probe import find_problem
from spar_core.backends.openai.redact import without_password
from spar_core.backends.openai.timeouts import Timeouts

__all__ = ["OpenAIBackend", "Timeouts", "find_problem", "without_password"]
