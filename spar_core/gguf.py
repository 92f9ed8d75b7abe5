"""Reads GGUF files: their metadata, and their tensors as float32 arrays.

The quantization types that models for CPUs commonly use are known: F32, F16, BF16, Q4_0, Q4_1 and Q8_0.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spar_core.errors import ConfigError

_MAGIC: Final = b"GGUF"
_ALIGNMENT: Final = 32
# Metadata value types, by their number in the format.
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip
_STRING: Final = 8
_ARRAY: Final = 9
_BLOCK: Final = 32


def _from_f32(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return raw.view(np.float32)


def _from_f16(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return raw.view(np.float16).astype(np.float32)


def _from_bf16(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _from_q8_0(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    blocks = raw.reshape(-1, 2 + _BLOCK)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return (blocks[:, 2:].copy().view(np.int8) * scale).reshape(-1)


def _from_q4_0(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    blocks = raw.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return ((_nibbles(blocks[:, 2:]) - 8.0) * scale).reshape(-1).astype(np.float32)


def _from_q4_1(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    blocks = raw.reshape(-1, 4 + _BLOCK // 2)
    scale, least = np.hsplit(blocks[:, :4].copy().view(np.float16).astype(np.float32), 2)
    return (_nibbles(blocks[:, 4:]) * scale + least).reshape(-1)


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The low halves of a block's bytes come first, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    bytes_per_block: int
    block: int
    read: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


_TYPES: Final = {
    0: _Type("F32", 4, 1, _from_f32),
    1: _Type("F16", 2, 1, _from_f16),
    2: _Type("Q4_0", 18, _BLOCK, _from_q4_0),
    3: _Type("Q4_1", 20, _BLOCK, _from_q4_1),
    8: _Type("Q8_0", 34, _BLOCK, _from_q8_0),
    30: _Type("BF16", 2, 1, _from_bf16),
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: tuple[int, ...]
    type: int
    offset: int


class GgufFile:
    """A model in one file. `metadata` maps keys such as `llama.block_count` to plain values.

    Raises:
        ConfigError: the file is no GGUF, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read_header()
        except (struct.error, ValueError, KeyError, IndexError) as error:
            raise ConfigError(f"{path}: not a readable GGUF file ({error}); download it again") from error

    def _read_header(self) -> None:
        if self._bytes[:4] != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version, tensors, entries = self._take("<IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version}; 2 and 3 can be read")
        self.metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._string()
            self.metadata[key] = self._value(self._take("<I")[0])
        self._tensors: dict[str, _Tensor] = {}
        for _ in range(tensors):
            name = self._string()
            (dimensions,) = self._take("<I")
            # The fastest dimension comes first in the file, and last in numpy.
            shape = tuple(reversed(self._take(f"<{dimensions}Q")))
            kind, offset = self._take("<IQ")
            self._tensors[name] = _Tensor(shape, kind, offset)
        alignment = int(self.metadata.get("general.alignment", _ALIGNMENT))
        self._data = -(-self._at // alignment) * alignment

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor by its name, such as `blk.0.attn_q.weight`, rows first.

        Raises:
            ConfigError: there is none, or it is of a type that cannot be read.
        """
        found = self._tensors.get(name)
        if found is None:
            raise ConfigError(f"{self.path}: has no tensor {name}; it is no model of a known architecture")
        kind = _TYPES.get(found.type)
        if kind is None:
            known = ", ".join(each.name for each in _TYPES.values())
            raise ConfigError(f"{self.path}: {name} is of GGUF type {found.type}; use a file of {known}")
        size = int(np.prod(found.shape)) // kind.block * kind.bytes_per_block
        raw = np.frombuffer(self._bytes, np.uint8, size, self._data + found.offset)
        return kind.read(raw).reshape(found.shape)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._bytes, self._at)
        self._at += struct.calcsize(form)
        return values

    def _string(self) -> str:
        (size,) = self._take("<Q")
        text = self._bytes[self._at : self._at + size].decode("utf-8", "replace")
        self._at += size
        return text

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            element, count = self._take("<IQ")
            if element in _SCALARS:
                return list(self._take(f"<{count}{_SCALARS[element][1:]}"))
            return [self._value(element) for _ in range(count)]
        return self._take(_SCALARS[kind])[0]
