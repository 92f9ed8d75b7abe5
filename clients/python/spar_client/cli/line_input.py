"""Questions from a terminal: several lines, and a history that outlives the conversation."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from spar_client.cli.screen import Screen

_BLOCK: Final = '"""'
_HISTORY_LINES: Final = 1000


def history_file() -> Path:
    """Where questions are kept, readable by their owner alone."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "spar/chat_history"


class LineInput:
    """Reads questions; leaving it stores them in the history."""

    def __init__(self, screen: Screen, history: Path) -> None:
        self._screen = screen
        self._history = history

    def question(self) -> str:
        r"""The next question: a line, lines that end with \, or everything between two lines of three quotes.

        Raises:
            EOFError: the input is over.
        """
        line = self._line("> ")
        if line.strip().startswith(_BLOCK):
            return self._block(line.strip().removeprefix(_BLOCK))
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(self._line(". "))
        return "\n".join(lines)

    def _block(self, first: str) -> str:
        lines = [first] if first else []
        while not (lines and lines[-1].rstrip().endswith(_BLOCK)):
            lines.append(self._line(". "))
        lines[-1] = lines[-1].rstrip().removesuffix(_BLOCK)
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        if self._screen.answers.is_terminal:
            # The prompt goes to `input`, so that editing a line knows where it starts.
            return input(prompt)
        self._screen.note(prompt, end="")
        return input()

    def __enter__(self) -> LineInput:
        # Imported here because it changes how `input` reads; it does not exist everywhere.
        with suppress(ImportError, OSError):
            import readline

            readline.read_history_file(self._history)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ImportError, OSError):
            import readline

            readline.set_history_length(_HISTORY_LINES)
            self._history.parent.mkdir(parents=True, exist_ok=True)
            self._history.touch(mode=0o600)
            readline.write_history_file(self._history)
