"""Models in this process, by transformers. Importing this loads torch."""

from spar_core.backends.in_process.backend import InProcessBackend as LocalBackend
from spar_core.backends.local.engine import LocalEngine

__all__ = ["LocalBackend", "LocalEngine"]
