"""What a model is to the rest of the project: something that completes a chat.

A backend is bound to one model. Cancelling the awaiting task (or closing the stream) aborts the
generation upstream. Every failure is a `spar_core.errors.BackendError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeGuard, runtime_checkable

from spar_core.types import Completion, Delta, Message, Sampling


class Backend(Protocol):
    """One model behind some engine."""

    @property
    def model(self) -> str:
        """The model's name, as the engine knows it."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Complete the chat in one piece."""
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Complete the chat piece by piece; the last delta carries finish_reason and usage."""
        ...

    async def aclose(self) -> None:
        """Free what the backend holds. Calls after this fail."""
        ...


@runtime_checkable
class Readiness(Protocol):
    """What a backend has besides that may be out of order for a while, or for good."""

    async def ready(self) -> bool:
        """Whether it takes calls now. Soon, and without an error."""
        ...


class Batching(Protocol):
    """What a backend has besides that may learn of several deltas at once."""

    def stream_batches(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Sequence[Delta], None]:
        """As `stream`, with the deltas that came together in one piece, which is never empty."""
        ...


def is_batching(backend: object) -> TypeGuard[Batching]:
    """Whether it is one. Asked for every stream: a look at the name costs a tenth of a look at the protocol."""
    return hasattr(backend, "stream_batches")


async def is_ready(backend: Backend) -> bool:
    """Whether a backend takes calls, as far as it can tell."""
    return await backend.ready() if isinstance(backend, Readiness) else True


def batches_of(
    backend: Backend, messages: Sequence[Message], sampling: Sampling
) -> AsyncGenerator[Sequence[Delta], None]:
    """A stream in the batches that its backend knows of, or delta by delta."""
    if is_batching(backend):
        return backend.stream_batches(messages, sampling)
    return _one_by_one(backend.stream(messages, sampling))


async def _one_by_one(stream: AsyncGenerator[Delta, None]) -> AsyncGenerator[Sequence[Delta], None]:
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            yield (delta,)


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
