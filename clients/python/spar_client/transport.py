"""The connections of a client, blocking or not, behind one asynchronous interface.

With `BlockingTransport` no coroutine ever suspends, so `run` brings one to its end without an event loop. That is how
everything above the connections is written once for both clients.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import anyio
import httpx

from spar_client.errors import APIConnectionError, APITimeoutError

T = TypeVar("T")


class Transport(Protocol):
    """Sends requests. Every failure of a connection is an `APIConnectionError`."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The response, whose body is not read yet."""
        ...

    async def read(self, response: httpx.Response) -> bytes:
        """The whole body."""
        ...

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body as it arrives."""
        ...

    async def release(self, response: httpx.Response) -> None:
        """End a response, read or not."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def aclose(self) -> None: ...


class BlockingTransport:
    """Connections of an `httpx.Client`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    async def send(self, request: httpx.Request) -> httpx.Response:
        with _translated(request):
            return self._client.send(request, stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        with _translated(response.request):
            return response.read()

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with _translated(response.request):
            for piece in response.iter_bytes():
                yield piece

    async def release(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251

    async def aclose(self) -> None:
        self._client.close()


class AsyncTransport:
    """Connections of an `httpx.AsyncClient`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: httpx.Request) -> httpx.Response:
        with _translated(request):
            return await self._client.send(request, stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        with _translated(response.request):
            return await response.aread()

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with _translated(response.request):
            async for piece in response.aiter_bytes():
                yield piece

    async def release(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def aclose(self) -> None:
        await self._client.aclose()


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise APIConnectionError(f"no server at {_origin(request)} took the connection in time") from error
    except httpx.TimeoutException as error:
        raise APITimeoutError(f"no answer from {_origin(request)} within the time-out") from error
    except httpx.ConnectError as error:
        raise APIConnectionError(f"no server at {_origin(request)} ({error}); start one with `spar serve`") from error
    except httpx.HTTPError as error:
        raise APIConnectionError(f"the connection to {_origin(request)} broke ({error})") from error


def _origin(request: httpx.Request) -> str:
    url = request.url
    return f"{url.scheme}://{url.netloc.decode().rpartition('@')[2]}"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over a `BlockingTransport` to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("a coroutine over a blocking transport suspended")
