"""What a file, a model or a recipe is, beyond its name: SHA-256 digests in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

_BLOCK: Final = 1 << 22


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
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        digest.update(path.name.encode())
        _add(digest, path)
    return {"model": model, "sha256": digest.hexdigest()}


def _add(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
