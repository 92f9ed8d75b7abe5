"""Normalize text for comparison, and replace what UTF-8 cannot encode."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, Literal

Form = Literal["NFKC", "NFKD"]
# A call of the normalizer holds the interpreter lock, so it works on pieces.
_PIECE: Final = 16 * 1024
# Ligatures of whole phrases, eighteen and eight times as long when normalized. They have no Latin letters.
_PHRASES: Final = ("\ufdfa", "\ufdfb")


def normalized(text: str, form: Form) -> str:
    """`text` in a normal form, without ligatures of whole phrases.

    Long texts are normalized in pieces; characters do not combine across their borders.
    """
    return text if text.isascii() else "".join(normal_pieces(text, form))


def normal_pieces(text: str, form: Form) -> Iterator[str]:
    """Like `normalized`, piece by piece."""
    for phrase in _PHRASES:
        text = text.replace(phrase, "")
    for start in range(0, len(text), _PIECE):
        yield unicodedata.normalize(form, text[start : start + _PIECE])


def replace_surrogates(text: str) -> str:
    """`text` without surrogates, which UTF-8 cannot encode: pairs are joined, and a lone one becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
