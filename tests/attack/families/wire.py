"""What needs no key: heads and bodies without an end, answers that are not read, connections that say nothing."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from typing import Final

from tests.attack.outcome import Outcome, none_of
from tests.attack.server import KEYS
from tests.attack.target import ATTEMPTS, Target

FLOOD_MB: Final = 60
IDLE_S: Final = 30.0
# Almost as many as a server takes; and what holds something needs fewer to be more than may be held.
_MANY: Final = 4000
_HOLDING: Final = 1000
_AT_ONCE: Final = 64
_PIECE: Final = 2**16
_HEAD: Final = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_POST: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def _connect(target: Target, address: str = "127.0.0.1") -> socket.socket:
    place = ("127.0.0.1", target.server.port)
    connection = socket.create_connection(place, timeout=5.0, source_address=(address, 0))
    # What is not read waits in the server, not in the kernel.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    return connection


async def _pour(target: Target, first: bytes, pieces: Iterable[bytes], *, within_s: float = 8.0) -> None:
    """Send until all is sent, the server closes, or it has read nothing more for a while."""
    loop = asyncio.get_running_loop()
    with _connect(target) as connection, suppress(OSError, TimeoutError):
        async with asyncio.timeout(within_s):
            await loop.sock_sendall(connection, first)
            for piece in pieces:
                await asyncio.wait_for(loop.sock_sendall(connection, piece), 1.0)
            await asyncio.sleep(0.2)


def _times(piece: bytes, megabytes: int = FLOOD_MB) -> Iterator[bytes]:
    return repeat(piece, megabytes * 2**20 // len(piece))


async def endless_heads(target: Target) -> list[Outcome]:
    line = b"X-Padding: " + b"a" * 1000 + b"\r\n"
    floods = {
        "endless header fields": (_HEAD, _times(line * 64)),
        "endless short fields": (_HEAD, _times(b"a: b\r\n" * 10_000)),
        "an endless header value": (_HEAD + b"X-Padding: ", _times(b"a" * _PIECE)),
        "an endless header name": (_HEAD, _times(b"a" * _PIECE)),
        "an endless URL": (b"GET /", _times(b"a" * _PIECE)),
        "an endless method": (b"", _times(b"A" * _PIECE)),
        "endless blank lines": (b"", _times(b"\r\n" * (_PIECE // 2))),
    }
    outcomes = []
    for name, (first, pieces) in floods.items():
        kept = list(pieces)
        outcomes += await target.measure(
            name, lambda first=first, kept=kept: _pour(target, first, kept), from_calm=True
        )
    return outcomes


async def endless_bodies(target: Target) -> list[Outcome]:
    chunk = b"10000\r\n" + b"a" * _PIECE + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    floods = {
        "an endless body without a key": (_POST + chunked + b"\r\n", _times(chunk)),
        "a long body without a key": (_POST + b"Content-Length: 31457280\r\n\r\n", _times(b"a" * _PIECE, 30)),
        "an endless body to /health": (_HEAD + chunked + b"\r\n", _times(chunk)),
        "an endless chunk extension": (_POST + chunked + b"\r\n1;", _times(b"a" * _PIECE)),
        "endless trailers": (_HEAD + chunked + b"\r\n0\r\n", _times(b"X-Trailer: a\r\n" * 1000)),
    }
    outcomes = []
    for name, (first, pieces) in floods.items():
        kept = list(pieces)
        outcomes += await target.measure(
            name, lambda first=first, kept=kept: _pour(target, first, kept), from_calm=True
        )
    return outcomes


async def unread_answers(target: Target) -> list[Outcome]:
    """Requests one after the other on a connection whose answers are never read."""
    outcomes = []
    for path in ("/health", "/metrics", "/openapi.json"):
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        pieces = [request * 1000] * 300

        async def flood(request: bytes = request, pieces: list[bytes] = pieces) -> None:
            await asyncio.gather(*(_pour(target, request, pieces, within_s=4.0) for _ in range(2)))

        outcomes += await target.measure(f"pipelined {path}, never read", flood, from_calm=True)
    return outcomes


async def many_connections(target: Target) -> list[Outcome]:
    """Thousands of connections from many addresses, each of which holds as much as it may."""
    _allow_files(_MANY + 1000)
    outcomes = []
    unread = b"".join(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in ("/openapi.json", *await _assets(target))
    )
    for name, count, first in (
        ("say nothing", _MANY, b""),
        ("send 199 fields of a head", _HOLDING, _HEAD + b"a: b\r\n" * 198),
        ("send half a head of 60 kB", _HOLDING, _HEAD + b"X-Padding: " + b"a" * 60_000),
        ("send half a body", _HOLDING, _POST + b"Content-Length: 31457280\r\n\r\n" + b"a" * 100_000),
        ("never read the documentation", 600, unread),
        ("never read the metrics", 200, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 8),
    ):

        async def hold(count: int = count, first: bytes = first) -> None:
            await _hold(target, count, first)

        outcomes += await target.measure(f"{count:,} connections that {name}", hold, from_calm=True)
    return outcomes


async def _assets(target: Target) -> list[str]:
    """The scripts and styles of the documentation."""
    page = (await target.get("/docs")).body.decode()
    return ["/" + path.removeprefix("/") for path in re.findall(r'(?:src|href)="([^"]+)"', page)]


async def _hold(target: Target, count: int, first: bytes) -> None:
    loop, held = asyncio.get_running_loop(), list[socket.socket]()
    # The bar is for one request: without pauses, a server on a busy machine would find hundreds at a time. Each whole
    # request is as much work as some connections that say nothing.
    at_once = max(1, _AT_ONCE // (1 + 4 * first.count(b"\r\n\r\n")))
    try:
        for number in range(count):
            if not number % at_once:
                await target.caught_up()
            with suppress(OSError, TimeoutError):
                held.append(_connect(target, f"127.0.1.{1 + number % 20}"))
                await asyncio.wait_for(loop.sock_sendall(held[-1], first), 1.0)
        await target.caught_up()
    finally:
        for number, connection in enumerate(held):
            if not number % _AT_ONCE:
                await target.caught_up()
            connection.close()
        # What was held is let go before the next attack is measured.
        await target.caught_up()


def _allow_files(most: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def silent_connections(target: Target) -> list[Outcome]:
    """Measured again where one is over its bar, as every figure is: a busy machine is late to close them."""
    for _ in range(ATTEMPTS):
        await target.until_idle()
        outcomes = await _silent_connections(target)
        if all(outcome.passed for outcome in outcomes):
            break
    return outcomes


async def _silent_connections(target: Target) -> list[Outcome]:
    """Connections that begin in some way and then say nothing: each must be closed in time."""
    bearer = f"Authorization: Bearer {KEYS['mallory']}\r\n".encode()
    beginnings = {
        "nothing": b"",
        "half a request line": b"GET /hea",
        "half a head": _HEAD,
        "half a body, no key": _POST + b"Content-Length: 100\r\n\r\n{",
        "half a body, with a key": _POST + bearer + b"Content-Length: 100\r\n\r\n{",
        "half a chunk, with a key": _POST + bearer + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "a request that was answered": _HEAD + b"\r\n",
        "a wrong key": _POST + b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}",
    }
    loop, files = asyncio.get_running_loop(), target.server.open_files()
    held = {name: [_connect(target, f"127.0.2.{1 + number}") for number in range(10)] for name in beginnings}
    dripping = [_connect(target, "127.0.2.99") for _ in range(10)]
    for name, connections in held.items():
        for connection in connections:
            with suppress(OSError):
                await loop.sock_sendall(connection, beginnings[name])
    # A connection is silent from when the server has read what came before: a busy machine accepts it late.
    await target.caught_up()
    began = time.monotonic()
    lasted = dict.fromkeys((*held, "a head that drips"), 0.0)

    async def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            await loop.sock_sendall(connection, _HEAD)
            while time.monotonic() < began + IDLE_S + 5:
                await loop.sock_sendall(connection, b"a: b\r\n")
                await asyncio.sleep(0.5)
        lasted["a head that drips"] = max(lasted["a head that drips"], time.monotonic() - began)

    async def until_closed(name: str, connection: socket.socket) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout_at(loop.time() + IDLE_S + 5 - (time.monotonic() - began)):
                while await loop.sock_recv(connection, _PIECE):
                    pass
        lasted[name] = max(lasted[name], time.monotonic() - began)

    waiting = [until_closed(name, connection) for name, group in held.items() for connection in group]
    await asyncio.gather(*waiting, *map(drip, dripping))
    for connection in (*dripping, *(connection for group in held.values() for connection in group)):
        connection.close()
    left = await target.settled_files(files + 2, within_s=5.0)
    return [
        *(Outcome(f"silent after {name}: closed after", seconds, "s", IDLE_S) for name, seconds in lasted.items()),
        Outcome("files left open by silent connections", max(0, left - files), "files", 2),
    ]


_AMBIGUOUS: Final = {
    "a length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length that is none": b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 3\r\n\r\n{} ",
    "an unknown transfer encoding": b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two transfer encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a blank before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a folded field": b"X-A: b\r\n c: d\r\nContent-Length: 2\r\n\r\n{}",
    "a NUL in a field": b"X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a chunk size out of range": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
}


async def ambiguous_framing(target: Target) -> list[Outcome]:
    """Heads that two servers could read as different requests must be refused: they smuggle requests past a proxy."""
    bearer = f"Authorization: Bearer {KEYS['mallory']}\r\n".encode()
    # So that no answer means that none is given.
    assert b'"model"' in await _exchange(target, _POST + bearer + b"Content-Length: 2\r\n\r\n{}", within_s=60.0)
    accepted = []
    answers = await asyncio.gather(*(_exchange(target, _POST + bearer + rest) for rest in _AMBIGUOUS.values()))
    for name, answer in zip(_AMBIGUOUS, answers, strict=True):
        status = answer[9:12]
        # The body is no chat: to complain that it names no model is to have taken it for a request.
        if status not in (b"400", b"413", b"501", b"") or b'"model"' in answer:
            accepted.append(f"{name} ({status.decode()})")
    return [none_of("ambiguously framed requests that were read", accepted)]


async def _exchange(target: Target, request: bytes, *, within_s: float = 2.0) -> bytes:
    loop, answer = asyncio.get_running_loop(), b""
    with _connect(target) as connection, suppress(OSError, TimeoutError):
        await loop.sock_sendall(connection, request)
        await target.caught_up()
        async with asyncio.timeout(within_s):
            while piece := await loop.sock_recv(connection, _PIECE):
                answer += piece
                if b"}" in answer:
                    break
    return answer


ATTACKS: Final = (
    endless_heads,
    endless_bodies,
    unread_answers,
    many_connections,
    ambiguous_framing,
    silent_connections,
)
