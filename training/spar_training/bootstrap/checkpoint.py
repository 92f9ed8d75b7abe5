"""A stage's checkpoint: one file, replaced atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Progress:
    """A stage's progress. `pool` is the next pool of rows to draw; `log` has one row per probe."""

    pool: int = 0
    tokens: int = 0
    steps: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(path: Path, *, progress: Progress, model: Mapping[str, Any], optimizers: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    torch.save({"progress": asdict(progress), "model": dict(model), "optimizers": optimizers}, scratch)
    os.replace(scratch, path)


def load_checkpoint(path: Path) -> tuple[Progress, dict[str, Any], list[Any]] | None:
    """The checkpoint at `path`, or None if the stage has not started."""
    if not path.exists():
        return None
    saved = torch.load(path, weights_only=True)
    return Progress(**saved["progress"]), saved["model"], saved["optimizers"]
