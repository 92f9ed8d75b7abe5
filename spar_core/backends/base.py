"""The interface of a model: it completes a chat, in one piece or as a stream.

A backend is bound to one model. Cancelling the awaiting task, or closing the stream, aborts the generation upstream.
Every failure is a `spar_core.errors.BackendError`.
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
        """The engine's name for the model."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Complete the chat in one piece."""
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Complete the chat delta by delta; the last delta has finish_reason and usage."""
        ...

    async def aclose(self) -> None:
        """Release all resources. Later calls fail."""
        ...


@runtime_checkable
class Readiness(Protocol):
    """Optional protocol for backends that can become unavailable."""

    async def ready(self) -> bool:
        """Whether the backend takes calls now. Returns quickly and does not raise."""
        ...


class Constraining(Protocol):
    """Optional protocol for engines that can constrain an answer to a schema, token by token.

    `constrains` says whether a `response_format` of type `json_schema` in `Sampling.extra` binds every token. A server
    behind a URL may ignore the field, so its backend does not have this protocol.
    """

    @property
    def constrains(self) -> bool: ...


def constrains(backend: object) -> bool:
    """Whether the backend or engine constrains answers to a schema; False if it does not say."""
    return bool(getattr(backend, "constrains", False))


class Batching(Protocol):
    """Optional protocol for backends that receive several deltas at once."""

    def stream_batches(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Sequence[Delta], None]:
        """Like `stream`, but yields batches: the deltas that arrived together. A batch is never empty."""
        ...


def is_batching(backend: object) -> TypeGuard[Batching]:
    """Whether the backend implements `Batching`. Checked per stream; `isinstance` would cost ten times as much."""
    return hasattr(backend, "stream_batches")


async def is_ready(backend: Backend) -> bool:
    """Whether a backend takes calls; True if it cannot tell."""
    return await backend.ready() if isinstance(backend, Readiness) else True


def batches_of(
    backend: Backend, messages: Sequence[Message], sampling: Sampling
) -> AsyncGenerator[Sequence[Delta], None]:
    """A stream in its backend's batches, or in batches of one delta."""
    if is_batching(backend):
        return backend.stream_batches(messages, sampling)
    return _one_by_one(backend.stream(messages, sampling))


async def _one_by_one(stream: AsyncGenerator[Delta, None]) -> AsyncGenerator[Sequence[Delta], None]:
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            yield (delta,)


@runtime_checkable
class PassThrough(Protocol):
    """Optional protocol for backends that forward raw requests. Only `model` is replaced, by the backend's own.

    `path` follows `/v1`, for example `/completions`. Cancellation and errors are those of `Backend`.
    """

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The complete answer to `body`."""
        ...

    def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of the answer to `body`, which requests a stream; without the final `[DONE]`."""
        ...
