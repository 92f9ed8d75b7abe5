"""Reads safetensors files as float32 arrays, bfloat16 too, which the library of that name cannot give numpy."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spar_core.errors import ConfigError

_TYPES: Final = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class SafetensorsFiles:
    """The tensors of all safetensors files in a folder, or of one file.

    Raises:
        ConfigError: there is none, or one is damaged.
    """

    def __init__(self, path: Path) -> None:
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        if not files:
            raise ConfigError(f"{path}: has no .safetensors file; save the model as safetensors")
        self._tensors: dict[str, tuple[Path, mmap.mmap, int, Any]] = {}
        for file in files:
            self._open(file)

    def _open(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + size])
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not a readable safetensors file ({error}); save the model again") from error
        for name, entry in header.items():
            if name != "__metadata__":
                self._tensors[name] = (path, content, 8 + size, entry)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor by its name.

        Raises:
            ConfigError: there is none, or its type is not a floating-point one.
        """
        if name not in self._tensors:
            raise ConfigError(f"there is no tensor {name} in the model's files; save the model again")
        path, content, start, entry = self._tensors[name]
        kind = _TYPES.get(entry["dtype"])
        if kind is None:
            raise ConfigError(f"{path}: {name} is of type {entry['dtype']}; {', '.join(_TYPES)} can be read")
        begin, end = entry["data_offsets"]
        read = np.frombuffer(content, np.uint8, end - begin, start + begin).copy().view(kind)
        if entry["dtype"] == "BF16":
            read = (read.astype(np.uint32) << 16).view(np.float32)
        return read.astype(np.float32, copy=False).reshape(entry["shape"])
