"""Turning tokens into text as they come: never half a character, never any part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What bytes that are no character decode to: one for an incomplete character, or one for each of its bytes.
_BROKEN = "\ufffd"
# An incomplete character has three bytes at most, hence three tokens, and shows as three marks at most.
_OPEN = 3
# Tokens decoded anew at each step: at the least, to hold an open character and what stands before it, and at the most.
_FEWEST, _MOST = 8, 16


class TextStream:
    """The growing text of one completion. `stopped` once a stop string has been met."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._recent: list[int] = []
        self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token; return the text that can be sent now."""
        self._recent.append(token)
        text = _closed(self._decode())
        fresh = text[self._read :]
        self._read = max(self._read, len(text))
        if len(self._recent) == _MOST:
            # What was read of these tokens ends in the same place when fewer of them are decoded.
            del self._recent[:-_FEWEST]
            self._read = len(_closed(self._decode()))
        return self._tell(fresh)

    def flush(self) -> str:
        """What is still held back, once no more tokens come."""
        rest = self._decode()[self._read :]
        self._read += len(rest)
        text = self._tell(rest)
        held, self._held = self._held, ""
        return text + held

    def _tell(self, fresh: str) -> str:
        text = self._held + fresh
        if self.stopped or not self._stops:
            self._held = ""
            return "" if self.stopped else text
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._recent, skip_special_tokens=True))


def _closed(text: str) -> str:
    """The text without an end that more tokens may turn into a character."""
    size = len(text)
    while size and len(text) - size < _OPEN and text[size - 1] == _BROKEN:
        size -= 1
    return text[:size]


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
