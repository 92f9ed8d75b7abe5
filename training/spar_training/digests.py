"""What a file, a model or a recipe is, beyond its name: SHA-256 digests in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from spar_core.weights import weights_sha256


def file_digest(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(data: object) -> str:
    """Of plain JSON data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def parent_of(model: str) -> dict[str, str]:
    """A model by what cannot change under its name: its weights' digest for a folder, else the name."""
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model}
    return {"model": model, "sha256": weights_sha256(folder)}
