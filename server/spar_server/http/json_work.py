"""How much work a JSON body is to read, counted before it is read: one call of a parser cannot be interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from spar_core.errors import RequestError

# Structure is looked at in pieces of so many bytes, between which other threads run.
_PIECE: Final = 256 * 1024
# Parsers take a time for a number that grows with the square of its digits. No float has as many.
_MOST_DIGITS: Final = 400
_LONG_NUMBER: Final = b"0" * (_MOST_DIGITS + 1)
_ALL_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_BLANKS: Final = b" \t\r\n"
# What a list, an object or a key costs over and above its place among its siblings.
_HELD: Final = 4
_CHARACTERS: Final = 8


def check_work(raw: bytes, most: int) -> None:
    """Whether a body is worth reading: a value counts 1, a list, an object or a key 4 more, and 8 characters outside of
    texts 1.

    Raises:
        RequestError: it is more work than `most`, or has a number of more than 400 digits.
    """
    work = 0
    for piece in _outside_texts(raw):
        if _LONG_NUMBER in piece.translate(_ALL_ZERO):
            raise RequestError(f"the body has a number of more than {_MOST_DIGITS} digits")
        held = piece.count(b"[") + piece.count(b"{") + piece.count(b":")
        work += piece.count(b",") + _HELD * held + len(piece.translate(None, _BLANKS)) // _CHARACTERS
        if work > most:
            raise RequestError(
                f"the body holds too many values: over this server's limit of {most} (a list, object or key counts "
                f"{1 + _HELD}); send it in several requests"
            )


def _outside_texts(raw: bytes) -> Iterator[bytes]:
    """What is not within quotes, piece by piece."""
    inside, start = 0, 0
    while start < len(raw):
        end = min(len(raw), start + _PIECE)
        piece = raw[start:end]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            # An escape is not cut in two.
            end += 1
            piece = raw[start:end]
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
        start = end
