"""Limits on a JSON body: on its work before it is parsed, and on its entries before they are validated.

A call of the parser cannot be interrupted, so the work is estimated from the raw bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sized
from typing import Any, Final

from spar_core.errors import RequestError
from spar_server.settings import Limits

# The structure is scanned in pieces of this many bytes, so that other threads can run in between.
_PIECE: Final = 256 * 1024
# The time to parse a number grows with the square of its digits. No float needs this many.
_MAX_DIGITS: Final = 400
_LONG_NUMBER: Final = b"0" * (_MAX_DIGITS + 1)
_ALL_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_WHITESPACE: Final = b" \t\r\n"
# The extra cost of a list, an object or a key.
_CONTAINER_COST: Final = 4
_CHARACTERS_PER_UNIT: Final = 8
# Fields of a body, and entries of a field that is neither a conversation nor a list of prompts.
_MAX_FIELDS: Final = 1000
_MAX_ENTRIES: Final = 10_000


def check_work(raw: bytes, limit: int) -> None:
    """Check that a body is not too much work to parse.

    A value counts as 1, a list, object or key as 5, and 8 characters outside of strings as 1.

    Raises:
        RequestError: the work is over `limit`, or a number has more than 400 digits.
    """
    work = 0
    for piece in _outside_strings(raw):
        if _LONG_NUMBER in piece.translate(_ALL_ZERO):
            raise RequestError(f"the body has a number of more than {_MAX_DIGITS} digits")
        containers = piece.count(b"[") + piece.count(b"{") + piece.count(b":")
        work += (
            piece.count(b",")
            + _CONTAINER_COST * containers
            + len(piece.translate(None, _WHITESPACE)) // _CHARACTERS_PER_UNIT
        )
        if work > limit:
            raise RequestError(
                f"the body has too many values: over this server's limit of {limit} (a list, object or key counts "
                f"{1 + _CONTAINER_COST}); send it in several requests"
            )


def _outside_strings(raw: bytes) -> Iterator[bytes]:
    """Yield what is outside of strings, piece by piece."""
    inside, start = 0, 0
    while start < len(raw):
        end = min(len(raw), start + _PIECE)
        piece = raw[start:end]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            # Do not split an escape sequence.
            end += 1
            piece = raw[start:end]
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
        start = end


def check_messages(messages: Sized, limits: Limits) -> None:
    """Raises RequestError if there are too many messages."""
    _check_count("messages", len(messages), limits.max_messages, unit="")


def check_counts(body: Any, fields: Container[str], limits: Limits) -> None:
    """Check that a parsed body's `fields` have few enough entries for each to be validated.

    Raises:
        RequestError: a field has too many entries; names it.
    """
    if not isinstance(body, dict):
        return
    if len(body) > _MAX_FIELDS:
        raise RequestError(f"the body has {len(body)} fields; the maximum is {_MAX_FIELDS}")
    for name, value in body.items():
        if not isinstance(value, list | dict) or name not in fields:
            continue
        if name == "messages":
            check_messages(value, limits)
            _check_parts(value, limits)
        elif name == "input" and value and isinstance(value, list) and isinstance(value[0], dict):
            _check_count(name, len(value), limits.max_messages)
        elif name not in ("input", "prompt"):
            _check_count(name, len(value), _MAX_ENTRIES)


def _check_parts(messages: Any, limits: Limits) -> None:
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    parts = sum(len(content) for content in contents if isinstance(content, list))
    _check_count("messages", parts, limits.max_messages, unit=" content parts")


def _check_count(field: str, count: int, limit: int, *, unit: str = " entries") -> None:
    if count > limit:
        raise RequestError(f"{field}: {count}{unit} are over this server's limit of {limit}", param=field)
