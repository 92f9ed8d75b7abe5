"""Checkpoints that are known to be whole: the last thing written into one is the list of its files.

A process that is killed while it writes a checkpoint leaves a folder without that list, or one whose files are not as
listed; it is thrown away, and the training goes on from the checkpoint before.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from spar_training.storage.files import write_json

_LIST: Final = "whole.json"


def seal(folder: Path) -> None:
    """Say that a checkpoint is written to its end."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _LIST)
    write_json(folder / _LIST, {str(path.relative_to(folder)): path.stat().st_size for path in files})


def is_whole(folder: Path) -> bool:
    """Whether all files of a checkpoint are there with the sizes that they were written with."""
    try:
        sizes = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint to go on from; None when there is none."""
    whole = [path for path in _checkpoints(folder) if is_whole(path)]
    return whole[-1] if whole else None


def drop_damaged(folder: Path) -> None:
    """Remove the checkpoints that are not whole. Only for the process that alone may change the folder."""
    for path in _checkpoints(folder):
        if not is_whole(path):
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))
