"""What a refinement changed in a draft, word by word, for the terminal."""

from __future__ import annotations

import difflib
import re

from rich.text import Text


def changes(draft: str, answer: str) -> Text:
    """The answer, with the words that were taken out of the draft struck through and those put in bold.

    Without the struck words the text is exactly the answer.
    """
    before, after = _words(draft), _words(answer)
    text = Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            text.append("".join(after[k:m]))
            continue
        text.append("".join(before[i:j]), style="red strike")
        text.append("".join(after[k:m]), style="bold green")
    return text


def _words(text: str) -> list[str]:
    """Words with the space that follows each; joined, they are the text."""
    return re.findall(r"\S+\s*|\s+", text)
