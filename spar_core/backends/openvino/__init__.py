"""Models in this process on its CPU, by OpenVINO. Needs no torch."""

from spar_core.backends.in_process.backend import InProcessBackend as OpenVinoBackend
from spar_core.backends.openvino.engine import OpenVinoEngine

__all__ = ["OpenVinoBackend", "OpenVinoEngine"]
