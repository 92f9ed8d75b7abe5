"""Turning tokens into text as they come: never half a character, never any part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What an incomplete UTF-8 sequence decodes to.
_BROKEN = "\ufffd"


class TextStream:
    """The growing text of one completion. `stopped` once a stop string has been met."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._tokens: list[int] = []
        self._settled = 0
        self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token; the text that can be told now."""
        self._tokens.append(token)
        known = self._decode(self._tokens[self._settled : self._read])
        text = self._decode(self._tokens[self._settled :])
        if text.endswith(_BROKEN) and len(self._tokens) - self._read < 4:
            return ""
        self._settled, self._read = self._read, len(self._tokens)
        return self._tell(text[len(known) :])

    def flush(self) -> str:
        """What is still held back, once no more tokens come."""
        known = self._decode(self._tokens[self._settled : self._read])
        rest = self._decode(self._tokens[self._settled :])[len(known) :]
        self._settled = self._read = len(self._tokens)
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

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
