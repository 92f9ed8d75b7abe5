"""Texts of clients and models, made safe and readable for a terminal."""

from __future__ import annotations

import difflib
import re
from typing import Final

from rich.text import Text

# Characters that can control a terminal: control characters, which start escape sequences, and bidi overrides.
_TERMINAL_CONTROLS: Final = {
    code: None
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """Remove what can control a terminal.

    >>> printable("a\\x1b[31m b")
    'a[31m b'
    """
    return text.translate(_TERMINAL_CONTROLS)


def shortened(text: str, length: int) -> str:
    """The text in one line of at most `length` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def word_diff(before: str, after: str) -> Text:
    """`after`, with the words that are new in bold green, and those of `before` that are gone struck through.

    They are also marked as in `git diff --word-diff`, for terminals without styles: [-gone-]{+new+}.
    """
    old, new = _words(printable(before)), _words(printable(after))
    text = Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, added = "".join(old[i:j]), "".join(new[k:m])
        if kind == "equal":
            text.append(added)
            continue
        if gone:
            text.append(f"[-{gone.rstrip()}-]", style="red strike")
            text.append("" if added else gone[len(gone.rstrip()) :])
        if added:
            text.append(f"{{+{added.rstrip()}+}}", style="bold green").append(added[len(added.rstrip()) :])
    return text


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)
