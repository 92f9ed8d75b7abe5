"""Text as other programs can take it."""

from __future__ import annotations


def whole(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold: two that make a character are joined, one is U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
