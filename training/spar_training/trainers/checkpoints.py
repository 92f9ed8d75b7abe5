"""Distinguish complete checkpoints from damaged ones: the last file written into a checkpoint lists all its files.

A process that is killed while writing a checkpoint leaves a folder without that list, or with files that do not match
it. Such a checkpoint is deleted, and the training resumes from the one before.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from spar_training.storage.files import write_json

_FILE_LIST: Final = "whole.json"


def seal(folder: Path) -> None:
    """Mark a checkpoint as complete."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _FILE_LIST)
    write_json(folder / _FILE_LIST, {str(path.relative_to(folder)): path.stat().st_size for path in files})


def is_complete(folder: Path) -> bool:
    """Whether all files of a checkpoint are there, at the sizes they were written with."""
    try:
        sizes = json.loads((folder / _FILE_LIST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def newest_complete(folder: Path) -> Path | None:
    """The checkpoint to resume from; None if there is none."""
    complete = [path for path in _checkpoints(folder) if is_complete(path)]
    return complete[-1] if complete else None


def drop_damaged(folder: Path) -> None:
    """Delete incomplete checkpoints. Only the process that holds the folder's lock may call this."""
    for path in _checkpoints(folder):
        if not is_complete(path):
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))
