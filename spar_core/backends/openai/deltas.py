"""The deltas of a streamed chat, read from its body without any waiting of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from spar_core.backends.openai.answers import delta_of, finish_of, first_choice, usage_of
from spar_core.backends.openai.failures import parsed, read_object
from spar_core.backends.openai.sse import DataLines
from spar_core.characters import whole
from spar_core.errors import BackendProtocol, BackendUnavailable
from spar_core.types import UNCOUNTED, Delta, FinishReason, Usage

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Deltas:
    """Fed with a body's pieces, of lines of at most `longest` bytes. `done` once the upstream has said so; `broken` by
    what it garbled, after what it said before."""

    def __init__(self, longest: int) -> None:
        self.done = False
        self.broken: BackendProtocol | None = None
        self._lines = DataLines(longest)
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        # Some servers cut between the two halves of a character.
        self._half = ""

    @property
    def finished(self) -> bool:
        """Whether the answer's text is complete; the usage may still follow."""
        return self._finish is not None

    def read(self, piece: bytes) -> list[Delta]:
        """What a piece of the body adds; nothing follows once it is `done` or `broken`."""
        return self._read(self._lines.feed(piece))

    def end(self) -> list[Delta]:
        """What an end of the body without a last line end still adds."""
        return self._read(self._lines.end())

    def last(self) -> Delta:
        """What ends the stream.

        Raises:
            BackendUnavailable: it was broken off.
        """
        # With neither of them the usage may have been cut off, and what was said would count as nothing.
        if self._finish is None or not (self.done or self._usage):
            raise BackendUnavailable("upstream broke off its stream")
        return Delta(whole(self._half), finish_reason=self._finish, usage=self._usage or UNCOUNTED)

    def _read(self, lines: list[bytes]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for data in lines:
                if data == b"[DONE]":
                    self.done = True
                    break
                if self._half or _SURROGATE.search(data):
                    data = self._joined(data)
                if (delta := self._delta(read_object(data))) is not None:
                    deltas.append(delta)
        except BackendProtocol as error:
            self.broken = error
        return deltas

    def _joined(self, data: bytes) -> bytes:
        """The chunk with the half character that the one before ended with, and without one at its own end."""
        try:
            chunk = parsed(data)
            delta = chunk["choices"][0]["delta"]
            text = self._half + delta["content"]
        except (ValueError, LookupError, TypeError):
            return data
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        delta["content"] = text.removesuffix(self._half)
        return whole(json.dumps(chunk, ensure_ascii=False)).encode()

    def _delta(self, chunk: Mapping[str, Any]) -> Delta | None:
        if chunk.get("usage"):
            self._usage = usage_of(chunk)
        if (choice := first_choice(chunk)) is None:
            return None
        self._finish = finish_of(choice) or self._finish
        return delta_of(choice)
