"""The clients: `Client` blocks, `AsyncClient` has the same methods as coroutines.

httpx and pydantic are slow to import, so they are imported with the first client.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

if TYPE_CHECKING:
    import httpx

    from spar_client.catalog import Algorithm, CheckType, Model
    from spar_client.completion import Completion
    from spar_client.events import StreamEvent
    from spar_client.judgement import Judgement
    from spar_client.options import ChatOptions, JudgeOptions, Messages


class Client:
    """A client of one server.

        with Client("http://127.0.0.1:8000", api_key="...") as client:
            answer = client.chat("Write about rivers without commas.", refine_budget=8)

    Without an address it uses SPAR_URL, else http://127.0.0.1:8000; without a key SPAR_API_KEY, else OPENAI_API_KEY.
    `model` is for requests that name none; without it, that is the server's first. `timeout` is in seconds, between two
    bytes of the server; it answers with the best so far a little earlier. What fails for a moment (connections, 408,
    409, 429, 5xx) is sent again up to `max_retries` times, after the server's Retry-After. `http_client` brings your
    own proxies or certificates.

    Every method raises the errors of `spar_client.errors`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = 600.0,
        max_retries: int = 2,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        import httpx

        from spar_client.api import Api, Connection
        from spar_client.traces import Traces
        from spar_client.transport import BlockingTransport, run

        connection = Connection.of(base_url, api_key, timeout=timeout, max_retries=max_retries, headers=headers or {})
        self._run = run
        self._api = Api(connection, BlockingTransport(http_client or httpx.Client()), model)
        self.traces = Traces(self._api)

    def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> Completion:
        """Answer a conversation, or one question given as a string."""
        return self._run(self._api.chat(messages, options))

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> Stream:
        """Answer a conversation, with the steps of the search as they happen."""
        return Stream(self._api.stream(messages, options))

    def judge(self, messages: Messages, response: str | None = None, **options: Unpack[JudgeOptions]) -> Judgement:
        """Judge an answer to a conversation: `response`, or its last message."""
        return self._run(self._api.judge(messages, response, options))

    def refine(
        self,
        messages: Messages,
        response: str | None = None,
        *,
        critique: str | None = None,
        **options: Unpack[ChatOptions],
    ) -> Completion:
        """Improve an answer to a conversation; without a `critique`, it is judged first."""
        return self._run(self._api.refine(messages, response, critique, options))

    def models(self) -> list[Model]:
        """The models of the server that the key may use."""
        return self._run(self._api.models())

    def algorithms(self) -> list[Algorithm]:
        """The algorithms that `refine["algorithm"]` can name."""
        return self._run(self._api.algorithms())

    def checks(self) -> list[CheckType]:
        """The checks that `refine["checks"]` and `judge` can name, with the schemas of their kwargs."""
        return self._run(self._api.checks())

    def close(self) -> None:
        """Close the connections."""
        self._run(self._api.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio and trio; `stream` gives an asynchronous iterator.

    async with AsyncClient() as client:
        answer = await client.chat("Write about rivers without commas.", refine_budget=8)
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = 600.0,
        max_retries: int = 2,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        import httpx

        from spar_client.api import Api, Connection
        from spar_client.traces import AsyncTraces
        from spar_client.transport import AsyncTransport

        connection = Connection.of(base_url, api_key, timeout=timeout, max_retries=max_retries, headers=headers or {})
        self._api = Api(connection, AsyncTransport(http_client or httpx.AsyncClient()), model)
        self.traces = AsyncTraces(self._api)

    async def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> Completion:
        """Answer a conversation, or one question given as a string."""
        return await self._api.chat(messages, options)

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> AsyncStream:
        """Answer a conversation, with the steps of the search as they happen."""
        return AsyncStream(self._api.stream(messages, options))

    async def judge(
        self, messages: Messages, response: str | None = None, **options: Unpack[JudgeOptions]
    ) -> Judgement:
        """Judge an answer to a conversation: `response`, or its last message."""
        return await self._api.judge(messages, response, options)

    async def refine(
        self,
        messages: Messages,
        response: str | None = None,
        *,
        critique: str | None = None,
        **options: Unpack[ChatOptions],
    ) -> Completion:
        """Improve an answer to a conversation; without a `critique`, it is judged first."""
        return await self._api.refine(messages, response, critique, options)

    async def models(self) -> list[Model]:
        """The models of the server that the key may use."""
        return await self._api.models()

    async def algorithms(self) -> list[Algorithm]:
        """The algorithms that `refine["algorithm"]` can name."""
        return await self._api.algorithms()

    async def checks(self) -> list[CheckType]:
        """The checks that `refine["checks"]` and `judge` can name, with the schemas of their kwargs."""
        return await self._api.checks()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class Stream:
    """The events of one answer. The request is sent when the first is asked for.

    Leaving its `with` block early, or `close`, ends the search on the server.
    """

    def __init__(self, events: AsyncGenerator[StreamEvent, None]) -> None:
        from spar_client.transport import run

        self._run = run
        self._events = events
        self._completion: Completion | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        event = self._run(_next(self._events))
        if event is None:
            raise StopIteration
        if event.type == "done":
            self._completion = event.completion
        return event

    def completion(self) -> Completion:
        """The whole answer, after reading what is left of the stream."""
        for _ in self:
            """The events have no reader."""
        return _complete(self._completion)

    def close(self) -> None:
        self._run(self._events.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream:
    """`Stream` as an asynchronous iterator."""

    def __init__(self, events: AsyncGenerator[StreamEvent, None]) -> None:
        self._events = events
        self._completion: Completion | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        event = await _next(self._events)
        if event is None:
            raise StopAsyncIteration
        if event.type == "done":
            self._completion = event.completion
        return event

    async def completion(self) -> Completion:
        """The whole answer, after reading what is left of the stream."""
        async for _ in self:
            """The events have no reader."""
        return _complete(self._completion)

    async def close(self) -> None:
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def _next(events: AsyncGenerator[StreamEvent, Any]) -> StreamEvent | None:
    return await anext(events, None)


def _complete(completion: Completion | None) -> Completion:
    if completion is None:
        raise RuntimeError("the stream was closed before its end")
    return completion
