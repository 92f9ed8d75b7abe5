"""Write weights to files that others can read, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file


def save_weights(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write `tensors` to the safetensors file `path`."""
    save_file(dict(tensors), path, metadata={"format": "pt"})
    # safetensors creates files that only their owner can read.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
