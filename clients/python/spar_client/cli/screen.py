"""The terminal: answers on stdout, everything else beside them or, where stdout is not a terminal, on stderr.

Nothing that a server or a model wrote can control the terminal.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

# Characters that can control a terminal: control characters, which start escape sequences, and bidi overrides.
_TERMINAL_CONTROLS: Final = {
    code: None
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """Remove what can control a terminal from text that a server or a model wrote.

    >>> printable("a\\x1b[31m b")
    'a[31m b'
    """
    return text.translate(_TERMINAL_CONTROLS)


@dataclass(frozen=True)
class Screen:
    """One console for answers and one for everything else; on a terminal they are the same."""

    answers: Console
    progress: Console

    @property
    def shows_changes(self) -> bool:
        """Whether the terminal can show struck-through text."""
        return self.answers.is_terminal and self.answers.color_system is not None

    def answer(self, text: str) -> None:
        """Show a piece of an answer. Into a pipe it is written verbatim, because a `Console` expands tabs."""
        if self.answers.is_terminal:
            self.answers.print(Text(printable(text)), end="")
        else:
            self.answers.file.write(printable(text))
            self.answers.file.flush()

    def changed_answer(self, before: str, answer: str) -> None:
        """Show a whole answer, with its changes to an earlier text if the terminal can show them."""
        if before == answer or not self.shows_changes:
            self.answer(answer)
        else:
            self.answers.print(word_diff(printable(before), printable(answer)), end="")

    def note(self, text: str = "", *, style: str = "", end: str = "\n") -> None:
        """Show text that is not part of an answer."""
        self.progress.print(Text(printable(text), style=style), end=end)

    def error(self, error: object) -> None:
        self.note(f"spar: {error}", style="red")


def open_screen() -> Screen:
    """The screen of this process."""
    answers = Console(highlight=False, soft_wrap=True)
    return Screen(answers, answers if answers.is_terminal else Console(stderr=True, highlight=False, soft_wrap=True))


def word_diff(before: str, after: str) -> Text:
    """Return `after` with the words removed from `before` struck through and the added ones in bold.

    Without the struck-through words the text is exactly `after`.
    """
    old, new = _split_words(before), _split_words(after)
    text = Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            text.append("".join(new[k:m]))
            continue
        text.append("".join(old[i:j]), style="red strike")
        text.append("".join(new[k:m]), style="bold green")
    return text


def _split_words(text: str) -> list[str]:
    """Split into words, each with the whitespace after it; joined, they are the text."""
    return re.findall(r"\S+\s*|\s+", text)
