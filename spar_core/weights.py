"""What a model in a folder is, whatever the folder is called: the SHA-256 of its weights, in hexadecimal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

_BLOCK: Final = 1 << 22


def weights_sha256(folder: Path) -> str:
    """Of the weight files' names and bytes, in the order of their names; that of nothing where there are none."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
