"""Any OpenAI-compatible server as a backend, over aiohttp.

Cancelling a call closes its HTTP response, which is how such servers learn of an abort.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from secrets import token_hex
from typing import Any, Final

import aiohttp

from spar_core.backends.context import call_context
from spar_core.backends.openai.answers import completion_of, completions_of
from spar_core.backends.openai.deltas import Deltas
from spar_core.backends.openai.failures import failure, read_object
from spar_core.backends.openai.reading import TimedBody, TokenClock, read_rest
from spar_core.backends.openai.sse import data_lines
from spar_core.backends.openai.timeouts import Timeouts
from spar_core.errors import BackendTimeout, BackendUnavailable
from spar_core.types import Completion, Delta, Message, Sampling

logger = logging.getLogger(__name__)

# vLLM closes idle connections after 5 s; reusing one later than that races with its closing.
_KEEP_ALIVE_S: Final = 4.0
_CHAT: Final = "/chat/completions"
# A server that takes longer to say that it lives is in no state to be sent work.
_PROBE_S: Final = 2.0
# dumps() would make an encoder for each call.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class OpenAIBackend:
    """One model of one server. `base_url` ends before `/chat/completions`, usually in `/v1`."""

    def __init__(
        self, *, base_url: str, model: str, api_key: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.model = model
        self.name = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeouts = timeouts or Timeouts()
        self._session: aiohttp.ClientSession | None = None
        self.takes_many = True

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with self._whole(_CHAT, self._body(messages, sampling)) as response:
            return completion_of(read_object(await response.read()))

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        async with self._whole(_CHAT, {**self._body(messages, sampling), "n": count}) as response:
            return completions_of(read_object(await response.read()))[:count]

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with aclosing(self.stream_batches(messages, sampling)) as batches:
            async for batch in batches:
                for delta in batch:
                    yield delta

    async def stream_batches(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Sequence[Delta], None]:
        body = {**self._body(messages, sampling), "stream": True, "stream_options": {"include_usage": True}}
        clock, deltas = TokenClock(self._timeouts), Deltas()
        within = self._timeouts
        async with self._post(_CHAT, body, answer_s=within.first_token, total_s=within.total) as response:
            async for piece in TimedBody(response.content, clock):
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
            await read_rest(response.content)

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._whole(path, {**body, "model": self.model}) as response:
            return read_object(await response.read())

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        body, within = {**body, "model": self.model}, self._timeouts
        clock = TokenClock(within)
        async with self._post(path, body, answer_s=within.first_token, total_s=within.total) as response:
            async with aclosing(data_lines(TimedBody(response.content, clock))) as lines:
                async for data in lines:
                    if data == "[DONE]":
                        break
                    yield read_object(data)
                    clock.ticked()
                else:
                    raise BackendUnavailable("upstream broke off its stream")
            await read_rest(response.content)

    async def alive(self) -> bool:
        """Whether the server answers: by `/health`, or by its list of models where there is no such route."""
        status = await self._get(f"{self.name.removesuffix('/v1')}/health")
        if status is not None and 400 <= status < 500:
            status = await self._get(f"{self.name}/models")
        return status is not None and status < 500

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """The session, made on first use because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
            # No cookies: what a server sets for one client's call is not for the next one's.
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _get(self, url: str) -> int | None:
        """The status of its answer, None when there is none in time."""
        try:
            async with self._client().get(url, timeout=aiohttp.ClientTimeout(total=_PROBE_S)) as response:
                return response.status
        except (TimeoutError, aiohttp.ClientError):
            return None

    def _whole(self, path: str, body: Mapping[str, Any]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask for an answer in one piece."""
        return self._post(path, body, answer_s=None, total_s=min(self._timeouts.answer, self._timeouts.total))

    @asynccontextmanager
    async def _post(
        self, path: str, body: Mapping[str, Any], *, answer_s: float | None, total_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; every failure of the exchange, also while its body is read, is a BackendError.

        `answer_s` bounds the time to the answer's headers, where that is less than the time for everything.
        """
        url = f"{self.name}{path}"
        timeout = aiohttp.ClientTimeout(total=total_s, connect=self._timeouts.connect)
        data, headers = _encode(body).encode(), {"Content-Type": "application/json", **_request_id()}
        try:
            async with asyncio.timeout(answer_s) if answer_s is not None else nullcontext():
                response = await self._client().post(url, data=data, headers=headers, timeout=timeout)
            try:
                if response.status >= 400:
                    raise failure(response.status, await response.read(), response.headers)
                yield response
            finally:
                # Not release(): an answer that is not wanted to its end must be aborted, not drained.
                response.close() if not response.content.at_eof() else response.release()
        except TimeoutError as error:
            logger.warning("%s did not answer in time", url)
            raise BackendTimeout("upstream did not answer in time") from error
        except aiohttp.ClientError as error:
            # Addresses are for the log: messages reach clients.
            logger.warning("%s: %s: %s", url, type(error).__name__, error)
            raise BackendUnavailable(f"upstream cannot be reached or broke off ({type(error).__name__})") from error

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


def _request_id() -> dict[str, str]:
    """The request's id, made this call's own: engines name their work by it, and one request makes many calls."""
    request_id = call_context().request_id
    return {"X-Request-Id": f"{request_id}-{token_hex(6)}"} if request_id else {}
