"""Writing a request's JSON, long texts of it in short steps.

One call of the encoder cannot be interrupted, also not by another thread, and takes a tenth of a second for 30 MB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from secrets import token_hex
from typing import Any, Final

from pydantic_core import to_json

# Bytes of a request that is encoded in one step.
_LONG: Final = 4 * 2**20
# Characters of a text that are.
_STEP: Final = 256 * 1024
# How deep in a request long texts are looked for: body, messages, message, parts, part, image, URL.
_DEPTH: Final = 7
# A list of more holds no text that is long enough to matter.
_MOST_ITEMS: Final = 10_000


def encoded(body: Mapping[str, Any], *, length: int = 0) -> bytes:
    """`body` as JSON; `length`, in bytes, is that of the request which it is made for."""
    if length <= _LONG:
        return _encoded(body)
    long_texts: list[str] = []
    # Nobody can write it into a request beforehand.
    mark = token_hex(16)
    short = _shortened(body, mark, long_texts, _DEPTH)
    if not long_texts:
        return _encoded(body)
    pieces = _encoded(short).split(f'"{mark}"'.encode())
    return b"".join(_spliced(pieces, long_texts))


def _shortened(value: Any, mark: str, long_texts: list[str], depth: int) -> Any:
    """`value` with the mark in place of each long text, which is added to `long_texts`."""
    if isinstance(value, str):
        if len(value) <= _STEP:
            return value
        long_texts.append(value)
        return mark
    if not depth or not isinstance(value, Mapping | list | tuple) or len(value) > _MOST_ITEMS:
        return value
    if isinstance(value, Mapping):
        return {name: _shortened(item, mark, long_texts, depth - 1) for name, item in value.items()}
    return [_shortened(item, mark, long_texts, depth - 1) for item in value]


def _spliced(pieces: list[bytes], long_texts: list[str]) -> Iterator[bytes]:
    """The pieces between the marks, with the texts in the marks' places."""
    yield pieces[0]
    for text, piece in zip(long_texts, pieces[1:], strict=True):
        yield b'"'
        for start in range(0, len(text), _STEP):
            yield _encoded(text[start : start + _STEP])[1:-1]
        yield b'"'
        yield piece


def _encoded(value: Any) -> bytes:
    try:
        return to_json(value)
    except ValueError:
        # Slower, but can encode lone surrogates, which a model may have written.
        return json.dumps(value, separators=(",", ":")).encode()
