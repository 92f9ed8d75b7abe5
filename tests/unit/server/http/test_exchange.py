"""How responses are written to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from spar_server.http.protocol import bounded_protocol
from spar_server.settings import ConnectionLimits

Send = Callable[[dict[str, Any]], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def connected(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of this app."""
    config = uvicorn.Config(app, http=bounded_protocol(ConnectionLimits()), lifespan="off", log_config=None)
    protocol = config.http
    assert isinstance(protocol, type)
    config.load()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1"
    )
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    yield reader, writer
    writer.close()
    listener.close()


async def reads(respond: Callable[[Send], Awaitable[None]], request: bytes, *, pieces: int) -> list[bytes]:
    """The first reads of a client that reads whatever has arrived, of the response to `request`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)

    async with connected(app) as (reader, writer):
        writer.write(request)
        return [await asyncio.wait_for(reader.read(2**20), 60) for _ in range(pieces)]


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(text: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": more}


async def test_a_small_answer_comes_in_one_piece() -> None:
    async def respond(send: Send) -> None:
        await send(start((b"content-length", b"5")))
        await send(body(b"Hello"))

    (read,) = await reads(respond, GET, pieces=1)
    assert read == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHello"


async def test_a_streams_head_comes_with_its_first_chunk_and_its_end_with_the_last() -> None:
    async def respond(send: Send) -> None:
        await send(start())
        await asyncio.sleep(0.01)
        await send(body(b"one", more=True))
        await asyncio.sleep(0.01)
        await send(body(b"two"))

    first, last = await reads(respond, GET, pieces=2)
    assert first == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"
    assert last == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_a_head_is_not_kept_from_a_client_until_there_is_a_body() -> None:
    gone_on = asyncio.Event()

    async def respond(send: Send) -> None:
        await send(start())
        await send(body(b"", more=True))
        await gone_on.wait()

    (read,) = await reads(respond, GET, pieces=1)
    gone_on.set()
    assert read == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_the_answer_to_head_has_no_body() -> None:
    async def respond(send: Send) -> None:
        await send(start((b"content-length", b"5")))
        await send(body(b"Hello"))

    (read,) = await reads(respond, GET.replace(b"GET", b"HEAD"), pieces=1)
    assert read == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_encoding_of_one(status: int) -> None:
    async def respond(send: Send) -> None:
        await send(start(status=status))
        await send(body(b""))

    (read,) = await reads(respond, GET, pieces=1)
    assert read.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in read


@pytest.mark.parametrize("said", [b"", b"Connection: close\r\n"], ids=["server", "client"])
async def test_who_closes_the_connection_says_so(said: bytes) -> None:
    async def respond(send: Send) -> None:
        closing = [] if said else [(b"connection", b"close")]
        await send(start((b"content-length", b"0"), *closing))
        await send(body(b""))

    read, end = await reads(respond, GET.replace(b"\r\n\r\n", b"\r\n" + said + b"\r\n"), pieces=2)
    assert read.count(b"connection: close\r\n") == 1
    assert end == b""


@pytest.mark.parametrize("header", [(b"x", b"1\r\ny: 2"), (b"x: 1\r\ny", b"2"), (b"x y", b""), (b"x", b"\0")])
async def test_no_header_can_start_another_one(header: tuple[bytes, bytes]) -> None:
    async def respond(send: Send) -> None:
        await send(start((b"content-length", b"0"), header))
        await send(body(b""))

    assert await reads(respond, GET, pieces=1) == [b""]


@pytest.mark.parametrize("text", [b"Hello, you", b"Hi"], ids=["longer", "shorter"])
async def test_a_body_of_another_length_than_announced_ends_the_connection(text: bytes) -> None:
    async def respond(send: Send) -> None:
        await send(start((b"content-length", b"5")))
        await send(body(text))

    *_, end = await reads(respond, GET, pieces=1 if len(text) > 5 else 2)
    assert end == b""


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    received = b""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        received = (await receive())["body"]
        await send(start((b"content-length", b"0")))
        await send(body(b""))

    async with connected(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"Hello")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert received == b"Hello"
