"""A backend whose calls are observed: each becomes a span of the request that makes it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

from spar_core.backends.base import Backend, Batching, PassThrough, constrains, is_batching
from spar_core.backends.choices import ManyCompletions, completes_many
from spar_core.backends.openai.parsing import usage_of
from spar_core.types import Completion, Delta, Message, ModelRole, Sampling, Usage
from spar_server.telemetry import names
from spar_server.telemetry.call import Call, number
from spar_server.telemetry.request import begin_call

_RAW_OPERATIONS: Final = {"/completions": names.TEXT_COMPLETION, "/embeddings": names.EMBEDDINGS}


class ObservedBackend:
    """`inner`, whose calls for `role` are recorded in the request that makes them."""

    def __init__(self, inner: Backend, role: ModelRole) -> None:
        self.model = inner.model
        self._inner = inner
        self._role: ModelRole = role
        self.constrains = constrains(inner)
        # The optional protocols are told apart by their methods, so this has those that the inner backend has.
        if hasattr(inner, "ready"):
            self.ready = inner.ready
        if completes_many(inner):
            self.complete_many = self._complete_many
        if is_batching(inner):
            self.stream_batches = self._stream_batches
        if isinstance(inner, PassThrough):
            self.forward, self.forward_stream = self._forward, self._forward_stream

    @property
    def supports_n(self) -> bool:
        return cast(ManyCompletions, self._inner).supports_n

    @supports_n.setter
    def supports_n(self, supported: bool) -> None:
        cast(ManyCompletions, self._inner).supports_n = supported

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if (call := begin_call(self._role, sampling, messages)) is None:
            return await self._inner.complete(messages, sampling)
        try:
            completion = await self._inner.complete(messages, sampling)
        except BaseException as error:
            call.fail(error)
            raise
        call.succeed((completion,))
        return completion

    async def _complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        inner = cast(ManyCompletions, self._inner)
        if (call := begin_call(self._role, sampling, messages)) is None:
            return await inner.complete_many(messages, sampling, count)
        call.choices = count
        try:
            completions = await inner.complete_many(messages, sampling, count)
        except BaseException as error:
            call.fail(error)
            raise
        call.succeed(completions)
        return completions

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        call = begin_call(self._role, sampling, messages)
        async with aclosing(self._inner.stream(messages, sampling)) as deltas:
            if call is None:
                async for delta in deltas:
                    yield delta
                return
            with _Streaming(call) as streaming:
                async for delta in deltas:
                    streaming.add((delta,))
                    yield delta

    async def _stream_batches(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Sequence[Delta], None]:
        call = begin_call(self._role, sampling, messages)
        async with aclosing(cast(Batching, self._inner).stream_batches(messages, sampling)) as batches:
            if call is None:
                async for batch in batches:
                    yield batch
                return
            with _Streaming(call) as streaming:
                texts = streaming.texts
                # Like `add`, whose call would be half of what a batch costs.
                async for batch in batches:
                    streaming.last = batch[-1]
                    if not call.first_chunk:
                        call.first_chunk = time.time_ns()
                    if texts is not None:
                        texts += [delta.text for delta in batch]
                    yield batch

    async def _forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        inner = cast(PassThrough, self._inner)
        if (call := begin_call(self._role, _raw_sampling(body))) is None:
            return await inner.forward(path, body)
        call.operation = _RAW_OPERATIONS.get(path, names.TEXT_COMPLETION)
        try:
            answer = await inner.forward(path, body)
        except BaseException as error:
            call.fail(error)
            raise
        call.succeed(())
        call.usage = usage_of(answer) if answer.get("usage") else None
        return answer

    async def _forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        call = begin_call(self._role, _raw_sampling(body))
        async with aclosing(cast(PassThrough, self._inner).forward_stream(path, body)) as chunks:
            if call is None:
                async for chunk in chunks:
                    yield chunk
                return
            call.operation = _RAW_OPERATIONS.get(path, names.TEXT_COMPLETION)
            with _Streaming(call):
                async for chunk in chunks:
                    if not call.first_chunk:
                        call.first_chunk = time.time_ns()
                    if chunk.get("usage"):
                        call.usage = usage_of(chunk)
                    yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Streaming:
    """Ends a streamed call with its context. `last` is the latest delta, which at the end has what the call found."""

    __slots__ = ("_call", "last", "texts")

    def __init__(self, call: Call) -> None:
        self._call = call
        self.texts: list[str] | None = None if call.messages is None else []
        self.last: Delta | None = None
        call.streams = True

    def add(self, batch: Sequence[Delta]) -> None:
        self.last = batch[-1]
        if not self._call.first_chunk:
            self._call.first_chunk = time.time_ns()
        if self.texts is not None:
            self.texts += [delta.text for delta in batch]

    def __enter__(self) -> _Streaming:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        call, usage, finish = self._call, self._call.usage, None
        if self.last is not None:
            usage, finish = self.last.usage, self.last.finish_reason
        # A consumer that has the last delta may close the stream instead of asking for more.
        if error is None or (isinstance(error, GeneratorExit) and finish):
            call.succeed(())
        else:
            call.fail(error)
        call.usage = usage
        call.finish_reasons = (finish,) if finish else ()
        if self.texts is not None:
            call.completions = (Completion("".join(self.texts), finish or "length", usage or Usage()),)


def _raw_sampling(body: Mapping[str, Any]) -> Sampling:
    """The sampling of a raw request, as far as it is what it should be."""
    limit, seed = body.get("max_tokens"), body.get("seed")
    return Sampling(
        temperature=number(body.get("temperature")),
        top_p=number(body.get("top_p")),
        max_tokens=limit if isinstance(limit, int) else None,
        seed=seed if isinstance(seed, int) else None,
    )
