"""What a backend has besides whose engine speaks more of OpenAI's API than chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class PassThrough(Protocol):
    """Requests and answers as they are, but for the model, which is the backend's own.

    `path` stands after `/v1`: `/completions`. Cancelling and failing are as with every `Backend`.
    """

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to `body`, whole."""
        ...

    def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of the answer to `body`, which asks for a stream; without the `[DONE]` at their end."""
        ...
