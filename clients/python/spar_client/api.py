"""The server's endpoints over a `Transport`: bodies, retries and answers. `Client` and `AsyncClient` share it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from spar_client.catalog import Algorithm, Algorithms, CheckType, CheckTypes, Model, Models
from spar_client.completion import Completion
from spar_client.errors import APIConnectionError, APIProtocolError, APIStatusError, status_error
from spar_client.events import StreamEvent
from spar_client.judgement import Judgement
from spar_client.options import Messages
from spar_client.retries import may_retry, retry_after, wait_s
from spar_client.streaming import read_stream
from spar_client.transport import Transport

DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S: Final = 600.0
DEFAULT_RETRIES: Final = 2
_CONNECT_S: Final = 5.0
# By this header of OpenAI's clients the server knows when to answer with the best so far.
_READ_TIMEOUT: Final = "x-stainless-read-timeout"

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is, and how it is called.

    Raises:
        ValueError: `base_url` is not an HTTP address.
    """

    base_url: str
    api_key: str | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    max_retries: int = DEFAULT_RETRIES
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{self.base_url}: must be an address such as {DEFAULT_URL} ({error})") from error
        if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
            raise ValueError(f"{self.base_url}: must be an address such as {DEFAULT_URL}")

    @classmethod
    def of(cls, base_url: str | None, api_key: str | None, **others: Any) -> Connection:
        """A connection; what is None comes from SPAR_URL, and SPAR_API_KEY or OPENAI_API_KEY."""
        key = api_key or os.environ.get("SPAR_API_KEY") or os.environ.get("OPENAI_API_KEY")
        return cls(base_url or os.environ.get("SPAR_URL") or DEFAULT_URL, key, **others)

    def request(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> httpx.Request:
        """A request; `path` starts behind /v1."""
        seconds = self.timeout if timeout is None else timeout
        headers = {_READ_TIMEOUT: f"{seconds:g}", **self.headers}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        limits = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_S))
        url = f"{self.base_url.rstrip('/').removesuffix('/v1')}/v1{path}"
        return httpx.Request(method, url, headers=headers, json=body, extensions={"timeout": limits.as_dict()})


class Api:
    """The endpoints. `model` is used where a request names none; without it, the server's first."""

    def __init__(self, connection: Connection, transport: Transport, model: str | None = None) -> None:
        self._connection = connection
        self._transport = transport
        self._model = model

    async def chat(self, messages: Messages, options: Mapping[str, Any]) -> Completion:
        return await self._post("/chat/completions", Completion, {"messages": _conversation(messages)}, options)

    async def stream(self, messages: Messages, options: Mapping[str, Any]) -> AsyncGenerator[StreamEvent, None]:
        refine = {"progress": False, "events": True, **options.get("refine", {})}
        fixed = {
            "messages": _conversation(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "refine": refine,
        }
        request = await self._request("/chat/completions", {}, {**options, **fixed})
        async with aclosing(read_stream(self._transport, await self._open(request))) as events:
            async for event in events:
                yield event

    async def judge(self, messages: Messages, response: str | None, options: Mapping[str, Any]) -> Judgement:
        fixed = {"messages": _conversation(messages), "response": response}
        return await self._post("/judge", Judgement, fixed, options)

    async def refine(
        self, messages: Messages, response: str | None, critique: str | None, options: Mapping[str, Any]
    ) -> Completion:
        fixed = {"messages": _conversation(messages), "response": response, "critique": critique}
        return await self._post("/refine", Completion, fixed, options)

    async def models(self) -> list[Model]:
        return (await self.get("/models", Models)).data

    async def algorithms(self) -> list[Algorithm]:
        return (await self.get("/algorithms", Algorithms)).data

    async def checks(self) -> list[CheckType]:
        return (await self.get("/checks", CheckTypes)).data

    async def get(self, path: str, kind: type[B], *, params: Mapping[str, Any] | None = None) -> B:
        """The body at `path`, read as a `kind`."""
        query = {name: value for name, value in (params or {}).items() if value is not None}
        request = self._connection.request("GET", path if not query else f"{path}?{httpx.QueryParams(query)}")
        return _read(await self._whole(request), kind)

    async def post(self, path: str, kind: type[B], body: Mapping[str, Any]) -> B:
        """The answer to a body without a model, read as a `kind`."""
        return _read(await self._whole(self._connection.request("POST", path, dict(body))), kind)

    async def forward(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The answer to a body, both as they are, and the request's id."""
        response = await self._whole(self._connection.request("POST", path, body))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise APIProtocolError(f"{response.request.url.path} did not answer with a JSON object")
        return answer, response.headers.get("x-request-id")

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _post(self, path: str, kind: type[B], fixed: Mapping[str, Any], options: Mapping[str, Any]) -> B:
        return _read(await self._whole(await self._request(path, fixed, options)), kind)

    async def _request(self, path: str, fixed: Mapping[str, Any], options: Mapping[str, Any]) -> httpx.Request:
        options = dict(options)
        timeout, extra = options.pop("timeout", None), options.pop("extra_body", {})
        model = options.pop("model", None) or await self._default_model()
        body = {"model": model, **options, **extra, **fixed}
        # None means "left out" in Python's clients, and a field may be refused as null.
        return self._connection.request("POST", path, _without_none(body), timeout=timeout)

    async def _default_model(self) -> str:
        if self._model is None:
            models = await self.models()
            if not models:
                raise APIProtocolError(f"{self._connection.base_url} lists no model that this key may use")
            self._model = models[0].id
        return self._model

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        return await self._send(request, whole=True)

    async def _open(self, request: httpx.Request) -> httpx.Response:
        return await self._send(request, whole=False)

    async def _send(self, request: httpx.Request, *, whole: bool) -> httpx.Response:
        """The response to a request, tried again as `retries` says.

        Raises:
            APIStatusError: the last attempt was answered by an error.
            APIConnectionError: it was not answered.
        """
        for attempt in count():
            last, hint = attempt >= self._connection.max_retries, None
            try:
                response = await self._transport.send(request)
                if whole or response.status_code >= 400:
                    await self._transport.read(response)
            except APIConnectionError:
                if last:
                    raise
            else:
                if response.status_code < 400:
                    return response
                error = _error(response)
                if last or not may_retry(response.status_code, response.headers):
                    raise error
                hint = error.retry_after
            await self._transport.sleep(wait_s(attempt, hint))
        raise AssertionError("unreachable")


def _conversation(messages: Messages) -> Sequence[Mapping[str, Any]]:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _error(response: httpx.Response) -> APIStatusError:
    try:
        body = response.json()
    except ValueError:
        body = None
    return status_error(
        response.status_code,
        body,
        text=response.text,
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after(response.headers),
    )


def _read(response: httpx.Response, kind: type[B]) -> B:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(map(str, found["loc"])) or "body"
        raise APIProtocolError(
            f"{response.request.url.path} did not answer as a SPaR Server does: {where}: {found['msg']}"
        ) from error
