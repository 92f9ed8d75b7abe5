"""Read an answer of embeddings in short steps: 2,048 vectors of 3,072 numbers take tenths of a second to parse.

A single call of the parser cannot be interrupted, not even by another thread, so each vector is parsed on its own.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import Any, Final

from pydantic_core import from_json

from spar_core.backends.openai.errors import read_object
from spar_core.errors import BackendProtocol

# A list of numbers; those of a few are parsed with the rest of the answer.
_NUMBERS: Final = re.compile(rb"\[[-+0-9.eE,\sNaInfity]{64,262144}+\]")


def read_embeddings(text: bytes | bytearray, max_values: int) -> dict[str, Any]:
    """Parse an answer of embeddings, like `read_object`; the numbers of its vectors do not count as values.

    Raises:
        BackendProtocol: as `read_object`.
    """
    # Nobody can write it into an answer beforehand.
    mark = token_hex(16)
    vectors: dict[str, list[Any]] = {}

    def parsed(numbers: re.Match[bytes]) -> bytes:
        name = f"{mark}{len(vectors)}"
        vectors[name] = from_json(numbers[0])
        return f'"{name}"'.encode()

    try:
        rest = _NUMBERS.sub(parsed, text)
    except ValueError as error:
        raise BackendProtocol("upstream sent invalid JSON", detail=str(error)) from error
    restored: dict[str, Any] = _restored(read_object(rest, max_values), vectors)
    return restored


def _restored(value: Any, vectors: dict[str, list[Any]]) -> Any:
    """`value` with the vectors in place of their names."""
    if isinstance(value, str):
        return vectors.get(value, value)
    if isinstance(value, list):
        return [_restored(item, vectors) for item in value]
    if isinstance(value, dict):
        return {name: _restored(item, vectors) for name, item in value.items()}
    return value
