"""Any OpenAI-compatible server as a backend, over aiohttp.

Cancelling a call closes its HTTP response, which is how such servers learn of an abort.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

import aiohttp

from spar_core.backends.openai.failures import failure, read_object
from spar_core.backends.openai.sse import data_lines
from spar_core.errors import BackendProtocol, BackendTimeout, BackendUnavailable
from spar_core.types import Completion, Delta, FinishReason, Message, Sampling, Usage

logger = logging.getLogger(__name__)

# vLLM closes idle connections after 5 s; reusing one later than that races with its closing.
_KEEP_ALIVE_S: Final = 4.0
_FINISHES: Final = frozenset(get_args(FinishReason))
_CHAT: Final = "/chat/completions"
_THOUGHTS: Final = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `idle` is the longest wait between two reads, the first token included; `total` bounds a call."""

    connect: float = 5.0
    idle: float = 120.0
    total: float = 600.0


class OpenAIBackend:
    """One model of one server. `base_url` ends before `/chat/completions`, usually in `/v1`."""

    def __init__(
        self, *, base_url: str, model: str, api_key: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.model = model
        self._url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeouts = timeouts or Timeouts()
        self._timeout = aiohttp.ClientTimeout(
            total=timeouts.total, sock_connect=timeouts.connect, sock_read=timeouts.idle
        )
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with self._post(_CHAT, self._body(messages, sampling)) as response:
            return _completion(read_object(await response.read()))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        finish: FinishReason | None = None
        usage = Usage()
        body = {**self._body(messages, sampling), "stream": True, "stream_options": {"include_usage": True}}
        async with self._post(_CHAT, body) as response:
            async for data in data_lines(response.content.iter_any()):
                if data == "[DONE]":
                    break
                chunk = read_object(data)
                usage = _usage(chunk) if chunk.get("usage") else usage
                choice = next(iter(chunk.get("choices") or ()), None)
                if choice is None:
                    continue
                finish = _finish(choice) or finish
                text, extra = _split(choice.get("delta") or {})
                if choice.get("logprobs"):
                    extra["logprobs"] = choice["logprobs"]
                if text or extra:
                    yield Delta(text, extra=extra)
        if finish is None:
            raise BackendUnavailable("upstream ended its stream without a finish_reason")
        yield Delta(finish_reason=finish, usage=usage)

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._post(path, {**body, "model": self.model}) as response:
            return read_object(await response.read())

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with self._post(path, {**body, "model": self.model}) as response:
            async for data in data_lines(response.content.iter_any()):
                if data == "[DONE]":
                    return
                yield read_object(data)
        raise BackendUnavailable("upstream broke off its stream")

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """The session, made on first use because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        return self._session

    @asynccontextmanager
    async def _post(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; every failure of the exchange, also while its body is read, is a BackendError."""
        try:
            response = await self._client().post(f"{self._url}{path}", json=body)
            try:
                if response.status >= 400:
                    raise failure(response.status, await response.read(), response.headers)
                yield response
            finally:
                # Not release(): an answer that is not wanted to its end must be aborted, not drained.
                response.close() if not response.content.at_eof() else response.release()
        except TimeoutError as error:
            logger.warning("%s did not answer in time", self._url)
            raise BackendTimeout("upstream did not answer in time") from error
        except aiohttp.ClientError as error:
            # Addresses are for the log: messages reach clients.
            logger.warning("%s: %s: %s", self._url, type(error).__name__, error)
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


def _completion(data: dict[str, Any]) -> Completion:
    choice = next(iter(data.get("choices") or ()), None)
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        raise BackendProtocol("upstream's answer has no choices")
    text, extra = _split(choice["message"])
    if choice.get("logprobs"):
        extra["logprobs"] = choice["logprobs"]
    return Completion(text, _finish(choice) or "stop", _usage(data), extra)


def _split(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The answer's text, and what else there is: thoughts are no part of the answer."""
    extra = {name: value for name, value in message.items() if name not in ("role", "content", *_THOUGHTS) and value}
    thought = next((message[name] for name in _THOUGHTS if message.get(name)), None)
    if thought:
        extra["reasoning"] = thought
    return message.get("content") or "", extra


def _finish(choice: Mapping[str, Any]) -> FinishReason | None:
    """OpenAI's reasons; any other that a server invents is an ordinary stop."""
    reason = choice.get("finish_reason")
    if reason is None:
        return None
    return cast(FinishReason, reason if reason in _FINISHES else "stop")


def _usage(data: Mapping[str, Any]) -> Usage:
    """Zero where a server does not count: it is not guessed at."""
    usage = data.get("usage") or {}
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
