"""Text as other programs can take it, and as it can be compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, Literal

Form = Literal["NFKC", "NFKD"]
# One call of the normalizer cannot be interrupted, also not by another thread.
_PIECE: Final = 16 * 1024
# Ligatures of whole phrases: normalized they would be eighteen and eight times as long. They hold no Latin letter.
_PHRASES: Final = ("\ufdfa", "\ufdfb")


def normalized(text: str, form: Form) -> str:
    """`text` in a normal form, without ligatures of whole phrases.

    What combines across the borders of long pieces stays apart.
    """
    return text if text.isascii() else "".join(normal_pieces(text, form))


def normal_pieces(text: str, form: Form) -> Iterator[str]:
    """The same piece by piece."""
    for phrase in _PHRASES:
        text = text.replace(phrase, "")
    for start in range(0, len(text), _PIECE):
        yield unicodedata.normalize(form, text[start : start + _PIECE])


def whole(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold: two that make a character are joined, one is U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
