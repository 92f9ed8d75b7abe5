"""A model on an OpenAI-compatible server as a backend, over aiohttp.

Cancelling a call closes its connection, which makes such servers abort the generation.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from random import getrandbits
from types import TracebackType
from typing import Any, Final

import aiohttp

from spar_core.backends.context import call_context
from spar_core.backends.openai.embeddings import read_embeddings
from spar_core.backends.openai.encoding import encoded
from spar_core.backends.openai.errors import backend_error, read_object
from spar_core.backends.openai.parsing import completion_of, completions_of, single_delta
from spar_core.backends.openai.redact import redacted, without_password
from spar_core.backends.openai.size_limits import ERROR_BYTES, size_limit
from spar_core.backends.openai.streaming import (
    DeltaReader,
    TimedBody,
    TokenClock,
    data_lines,
    read_beginning,
    read_rest,
    read_whole,
)
from spar_core.backends.openai.timeouts import Timeouts
from spar_core.backends.openai.transport import TRANSPORT_ERRORS, Answer, Transport
from spar_core.errors import BackendError, BackendTimeout, BackendUnavailable
from spar_core.off_loop import SHORT, unless_short
from spar_core.timeout import Timeout
from spar_core.types import Completion, Delta, Message, Sampling

logger = logging.getLogger(__name__)

# The operator's mistake: the key, the model's name or the address is wrong.
_FOR_OPERATORS: Final = (301, 302, 303, 307, 308, 401, 403, 404, 405)
_CHAT: Final = "/chat/completions"
_EMBEDDINGS: Final = "/embeddings"
# A server that takes longer to answer a health check should get no calls.
_PROBE_S: Final = 2.0


class OpenAIBackend:
    """One model of one server. `base_url` ends before `/chat/completions`, usually in `/v1`.

    backend = OpenAIBackend(base_url="http://127.0.0.1:8001/v1", model="my-model")
    completion = await backend.complete([Message("user", "Hello")], Sampling())
    """

    def __init__(
        self, *, base_url: str, model: str, api_key: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.model = model
        self.name = base_url.rstrip("/")
        self._key = api_key
        self._label = without_password(self.name)
        self._timeouts = timeouts or Timeouts()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._transport = Transport(self.name, headers, connect_s=self._timeouts.connect)
        self.supports_n = True

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return completion_of(await self._request(_CHAT, lambda: self._body(messages, sampling)))

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        data = await self._request(_CHAT, lambda: {**self._body(messages, sampling), "n": count})
        return completions_of(data)[:count]

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with aclosing(self.stream_batches(messages, sampling)) as batches:
            async for batch in batches:
                for delta in batch:
                    yield delta

    async def stream_batches(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Sequence[Delta], None]:
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        call = await _prepare(_CHAT, lambda: {**self._body(messages, sampling), **streamed})
        clock, deltas = TokenClock(self._timeouts), DeltaReader(call.limit)
        with self._translate_errors(call):
            answer = await self._stream(call)
            if answer.is_json:
                yield (single_delta(completion_of(read_object(await self._rest(call, answer), call.limit.values))),)
                return
            pieces = TimedBody(answer.content, clock, call.limit.stream)
            try:
                async for piece in pieces:
                    if batch := deltas.read(piece):
                        yield batch
                    if batch or deltas.finished:
                        clock.ticked()
                    if deltas.done or deltas.broken:
                        break
                else:
                    if batch := deltas.end():
                        yield batch
                if deltas.broken:
                    raise deltas.broken
                yield (deltas.last(),)
                await read_rest(answer.content)
            finally:
                pieces.close()
                answer.end()

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._request(path, lambda: {**body, "model": self.model})

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        call = await _prepare(path, lambda: {**body, "model": self.model})
        clock = TokenClock(self._timeouts)
        with self._translate_errors(call):
            answer = await self._stream(call)
            if answer.is_json:
                yield read_object(await self._rest(call, answer), call.limit.values)
                return
            pieces = TimedBody(answer.content, clock, call.limit.stream)
            try:
                async with aclosing(data_lines(pieces, call.limit.whole)) as lines:
                    async for data in lines:
                        if data == b"[DONE]":
                            break
                        yield read_object(data, call.limit.values)
                        clock.ticked()
                    else:
                        raise BackendUnavailable("the upstream ended its stream early")
                await read_rest(answer.content)
            finally:
                pieces.close()
                answer.end()

    async def alive(self) -> bool:
        """Whether the server answers `/health`, or its list of models if it has no such route."""
        status = await self._get(f"{self.name.removesuffix('/v1')}/health")
        if status is not None and 400 <= status < 500:
            status = await self._get(f"{self.name}/models")
        return status is not None and status < 500

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _get(self, url: str) -> int | None:
        """The status of the answer; None if there is none in time."""
        try:
            timeout = aiohttp.ClientTimeout(total=_PROBE_S)
            async with self._transport.session().get(url, timeout=timeout, allow_redirects=False) as response:
                return response.status
        except (TimeoutError, aiohttp.ClientError):
            return None

    async def _request(self, path: str, body: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Request an answer that is not streamed."""
        call = await _prepare(path, body)
        with self._translate_errors(call), Timeout(min(self._timeouts.answer, self._timeouts.total)):
            answer = await self._transport.post(path, call.data, _request_id())
            try:
                if answer.status >= 300:
                    raise await _error_of(call, answer)
                data = await read_whole(answer.content, call.limit.whole)
            finally:
                answer.end()
        if path == _EMBEDDINGS:
            return await unless_short(lambda: read_embeddings(data, call.limit.values), len(data))
        return read_object(data, call.limit.values)

    async def _stream(self, call: _Call) -> Answer:
        """Request a streamed answer; the caller must `end` it."""
        with Timeout(min(self._timeouts.first_token, self._timeouts.total)):
            answer = await self._transport.post(call.path, call.data, _request_id())
            if answer.status < 300:
                return answer
            try:
                raise await _error_of(call, answer)
            finally:
                answer.end()

    async def _rest(self, call: _Call, answer: Answer) -> bytes | bytearray:
        """The body of an answer that is not streamed although the request was for a stream."""
        try:
            with Timeout(min(self._timeouts.answer, self._timeouts.total)):
                return await read_whole(answer.content, call.limit.whole)
        finally:
            answer.end()

    def _translate_errors(self, call: _Call) -> _Exchange:
        return _Exchange(partial(self._translate, call))

    def _translate(self, call: _Call, error: BaseException) -> None:
        """Log the failure of an exchange and raise it as a BackendError; anything else is left alone.

        The message reaches clients, so addresses only go to the log, and the upstream's own words only to its `debug`
        level.
        """
        if isinstance(error, TimeoutError):
            logger.warning("%s%s did not answer in time", self._label, call.path)
            raise BackendTimeout("upstream did not answer in time") from error
        if isinstance(error, TRANSPORT_ERRORS):
            name = type(error).__name__
            why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
            logger.warning("%s%s: %s%s", self._label, call.path, name, why)
            self._log_detail(call, str(error))
            raise BackendUnavailable(f"the upstream cannot be reached or closed the connection ({name})") from error
        if isinstance(error, BackendError):
            # Problems for the operator, not for the client.
            if error.status in _FOR_OPERATORS or isinstance(error, BackendUnavailable):
                logger.warning("%s%s: %s", self._label, call.path, error)
            self._log_detail(call, error.detail)

    def _log_detail(self, call: _Call, detail: str) -> None:
        if detail and logger.isEnabledFor(logging.DEBUG):
            safe = redacted(detail, secret=self._key, request=call.body)
            logger.debug("%s%s said: %s", self._label, call.path, safe)

    def _body(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            **sampling.extra,
            "model": self.model,
            "messages": [message.to_openai() for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed,
        }
        return {name: value for name, value in body.items() if value is not None}


class _Call:
    """A request as it is sent, and the size limit of its answer."""

    __slots__ = ("body", "data", "limit", "path")

    def __init__(self, path: str, body: Mapping[str, Any], *, length: int) -> None:
        self.path = path
        self.body = body
        self.data = encoded(body, length=length)
        self.limit = size_limit(path, body, len(self.data))


class _Exchange:
    """Calls `on_error` with the error that leaves its context. Cheaper than a generator: every call enters one."""

    __slots__ = ("_on_error",)

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._on_error = on_error

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._on_error(error)


async def _prepare(path: str, body: Callable[[], Mapping[str, Any]]) -> _Call:
    context = call_context()
    # Like `unless_short`, whose own coroutine each call would pay for.
    if context.length <= SHORT:
        return _Call(path, body(), length=context.length)
    call: _Call = await context.off_loop(lambda: _Call(path, body(), length=context.length), context.length)
    return call


async def _error_of(call: _Call, answer: Answer) -> BackendError:
    """The error of an answer with status >= 300; reads only the beginning of its body."""
    body = await read_beginning(answer.content, ERROR_BYTES)
    return backend_error(answer.status, body, answer.headers, call.body.keys())


def _request_id() -> str | None:
    """The request's id with a suffix per call: engines use it as a unique name, and one request makes many calls."""
    request_id = call_context().request_id
    return f"{request_id}-{getrandbits(48):012x}" if request_id else None
