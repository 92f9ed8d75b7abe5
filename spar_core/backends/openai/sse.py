"""Server-sent events as OpenAI-compatible servers send them: the data of each event, nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

from spar_core.errors import BackendProtocol


class DataLines:
    """The text after `data:` of every line that has it; comments and other fields are passed over.

    The pieces of the body may break anywhere, also inside a character or a line end. A line may have `longest` bytes.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        # A line's pieces are joined once, at its end: to append to a text copies it.
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """What the lines hold that end in this piece.

        Raises:
            BackendProtocol: a line is too long.
        """
        head, end, rest = piece.partition(b"\n")
        self._append(head)
        if not end:
            return []
        *lines, last = rest.split(b"\n")
        lines = [self._take(), *lines]
        self._append(last)
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._longest:
            raise BackendProtocol("upstream's answer is larger than what was asked for can be")
        if part:
            self._pending.append(part)

    def _take(self) -> bytes:
        line = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._size = [], 0
        return line

    def end(self) -> list[bytes]:
        """What a last line without an end holds."""
        line = self._take()
        return [line[5:].strip()] if line.startswith(b"data:") else []


async def data_lines(pieces: AsyncIterable[bytes], longest: int) -> AsyncGenerator[bytes, None]:
    """The data of a body that comes in pieces, of lines of at most `longest` bytes."""
    lines = DataLines(longest)
    async for piece in pieces:
        for data in lines.feed(piece):
            yield data
    for data in lines.end():
        yield data
