"""What a training tells of itself, as JSON lines that the trainer writes and anyone may read: one a logged step.

A line: `{"step", "total", "seconds", "epoch", "loss", "learning_rate", ...}`, for DPO with `rewards/accuracies`,
`rewards/margins` and the like. `seconds` counts from when the process began to train that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from spar_training.files import Row


def read_progress(path: Path) -> Iterator[Row]:
    """The whole lines of the file, which may be being written; none when there is no file yet."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        yield json.loads(line)
