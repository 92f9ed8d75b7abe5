"""Server-sent events as OpenAI-compatible servers send them: the data of each event, nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable


class DataLines:
    """The text after `data:` of every line that has it; comments and other fields are passed over.

    The pieces of the body may break anywhere, also inside a character or a line end.
    """

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """What the lines hold that end in this piece."""
        *lines, self._pending = (self._pending + piece).split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def end(self) -> list[bytes]:
        """What a last line without an end holds."""
        line, self._pending = self._pending, b""
        return [line[5:].strip()] if line.startswith(b"data:") else []


async def data_lines(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The data of a body that comes in pieces."""
    lines = DataLines()
    async for piece in pieces:
        for data in lines.feed(piece):
            yield data
    for data in lines.end():
        yield data
