"""Server-sent events as OpenAI-compatible servers send them: the data of each event, nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable


async def data_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[str, None]:
    """The text after `data:` of every line that has it; comments and other fields are passed over.

    `chunks` may break anywhere, also inside a character or a line end.
    """
    pending = b""
    async for chunk in chunks:
        pending += chunk
        *lines, pending = pending.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode("utf-8", errors="replace")
    if pending.startswith(b"data:"):
        yield pending[5:].strip().decode("utf-8", errors="replace")
