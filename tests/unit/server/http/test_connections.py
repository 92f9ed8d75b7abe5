"""What one connection may send, hold and wait for, seen from the other end of a real socket."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from spar_core.backends.scripted import ScriptedBackend
from spar_server.http.connections import ConnectionTable, network_of
from spar_server.http.protocol import bounded_protocol
from spar_server.settings import ConnectionLimits, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
Serve = Callable[..., AbstractContextManager[int]]
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SOON = {"head_s": 0.4, "body_s": 0.4, "idle_s": 1.0, "send_s": 0.4}
# Long enough for a busy machine: what is waited for comes by itself.
PATIENCE_S = 30


@pytest.fixture
def serve(serving: Serving) -> Serve:
    @contextmanager
    def start(latency_s: float = 0.0, **connections: Any) -> Iterator[int]:
        settings = Settings(connections=connections)
        with serving(scripted_pair(latency_s=latency_s), settings) as url:
            yield int(url.rpartition(":")[2])

    return start


@pytest.fixture
def port(serve: Serve) -> Iterator[int]:
    with serve() as port:
        yield port


@pytest.fixture(scope="module")
def hasty(serving: Serving) -> Iterator[int]:
    """A server that waits for nobody."""
    with serving(scripted_pair(), Settings(connections=SOON)) as url:
        yield int(url.rpartition(":")[2])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces = []
    try:
        while piece := client.recv(65536):
            pieces.append(piece)
    except ConnectionError:
        """It closed while something was still on its way to it."""
    return b"".join(pieces)


def answer(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the body of the next answer, which has a length."""
    with client.makefile("rb") as reader:
        return read_answer(reader)


def read_answer(reader: Any) -> tuple[int, dict[str, Any]]:
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status, json.loads(reader.read(length))


def refusal(port: int, *sent: bytes) -> tuple[int, str]:
    """The status and the code that the server answers to `sent`, after which it closes."""
    with connect(port) as client:
        # From beside: the server may answer before it has been sent everything.
        sender = threading.Thread(target=send, args=(client, sent))
        sender.start()
        received = rest(client)
        sender.join()
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def send(client: socket.socket, pieces: tuple[bytes, ...]) -> None:
    try:
        for piece in pieces:
            client.sendall(piece)
    except ConnectionError:
        """The server had closed."""


def get(*headers: bytes, path: bytes = b"/health") -> bytes:
    return b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""))


def post(length: int, body: bytes = b"") -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % length + body


def chat(text: str = "Hi") -> bytes:
    body = json.dumps({"model": "pair", "messages": [{"role": "user", "content": text}]}).encode()
    return post(len(body), body)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# What a head may hold


@pytest.mark.parametrize("field", [b"x: " + b"y" * 1800, b"x: y\r\n" * 199])
def test_half_heads_together_hold_no_more_than_256_heads(serve: Serve, field: bytes) -> None:
    with serve(max_head_bytes=2048) as port, ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(400)]
        for client in held:
            client.sendall(b"GET /health HTTP/1.1\r\n" + field)
        # What came before it has been read by then.
        with connect(port) as client:
            client.sendall(get())
            assert answer(client)[0] == 200
        still_open = [client for client in held if not select.select([client], [], [], 0)[0]]
        assert 0 < len(still_open) <= 290


def test_clients_that_send_long_bodies_are_not_taken_for_such_that_hold_heads(serve: Serve) -> None:
    with serve(max_head_bytes=1024) as port, ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(20)]
        text = chat("a word " * 10_000)
        for client in clients:
            client.sendall(text[:-10])
        for client in clients:
            client.sendall(text[-10:])
            assert answer(client)[0] == 200


def test_a_head_within_the_limits_is_answered(port: int) -> None:
    fields = [b"x-%d: %s" % (number, b"y" * 300) for number in range(199)]
    with connect(port) as client:
        client.sendall(get(*fields))
        assert answer(client)[0] == 200


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        ((get(*[b"x: y"] * 200),), (431, "headers_too_large")),
        ((get(b"x: " + b"y" * 2**16),), (431, "headers_too_large")),
        ((get(*[b"x: " + b"y" * 1000] * 66),), (431, "headers_too_large")),
        ((get(path=b"/" + b"a" * 2**16),), (414, "url_too_large")),
        # Whatever has no end, as long as anyone cares to send it.
        ((b"GET /health HTTP/1.1\r\nx: ", *[b"y" * 2**16] * 64), (431, "headers_too_large")),
        ((b"GET /health HTTP/1.1\r\n", *[b"y" * 2**16] * 64), (431, "headers_too_large")),
        ((b"GET /", *[b"a" * 2**16] * 64), (414, "url_too_large")),
        ((b"GET /health HTTP/1.1\r\n", *[b"x: y\r\n" * 2**13] * 64), (431, "headers_too_large")),
        ((b"what is this\r\n\r\n",), (400, "invalid_http")),
        ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",), (400, "invalid_http")),
    ],
    ids=["fields", "one", "all", "url", "endless-value", "endless-name", "endless-url", "endless", "garbage", "tls"],
)
def test_a_head_over_a_limit_is_refused(port: int, sent: tuple[bytes, ...], refused: tuple[int, str]) -> None:
    assert refusal(port, *sent) == refused


@pytest.mark.parametrize("piece", [b"x: y\r\n" * 2**13, b"y" * 2**16], ids=["fields", "one"])
def test_fields_after_a_chunked_body_count_as_the_head_does(port: int, piece: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nz"
    assert refusal(port, head, *[piece] * 64) == (431, "headers_too_large")


def test_an_invalid_chunked_body_is_refused(port: int) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert refusal(port, head + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n") == (400, "invalid_http")


def test_small_chunks_of_a_large_body_are_no_excess(port: int) -> None:
    text = json.dumps({"model": "pair", "messages": [{"role": "user", "content": "x" * 100_000}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text)
    with connect(port) as client:
        client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert answer(client)[0] == 200


def test_an_upgrade_to_another_protocol_is_ignored(port: int) -> None:
    with connect(port) as client:
        client.sendall(get(b"Connection: Upgrade", b"Upgrade: websocket"))
        assert b"200 OK" in rest(client)


# Pipelined requests


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    with connect(port) as client, client.makefile("rb") as reader:
        client.sendall(HEALTH + chat() + HEALTH + get(path=b"/nowhere"))
        assert [read_answer(reader)[0] for _ in range(4)] == [200, 200, 200, 404]
        client.sendall(HEALTH)
        assert read_answer(reader)[0] == 200


def test_a_client_that_leaves_with_others_in_the_pipeline_ends_the_request_that_runs(serving: Serving) -> None:
    pair = scripted_pair(latency_s=3600)
    actor = pair.actor
    assert isinstance(actor, ScriptedBackend)
    with serving(pair, Settings()) as url, connect(int(url.rpartition(":")[2])) as client:
        client.sendall(chat() + HEALTH)
        wait_until(lambda: actor.running == 1)
        client.close()
        wait_until(lambda: actor.cancelled == 1)


def test_requests_over_the_pipelines_limit_are_not_answered(serve: Serve) -> None:
    with serve(max_pipelined=3) as port, connect(port) as client:
        client.sendall(HEALTH * 100)
        assert rest(client).count(b"HTTP/1.1 200 OK") == 4


def test_what_waits_in_the_pipeline_is_no_larger_than_a_head_may_be(serve: Serve) -> None:
    with serve(max_head_bytes=1024) as port, connect(port) as client:
        client.sendall(HEALTH + chat("x" * 2000) + HEALTH)
        assert rest(client).count(b"HTTP/1.1") == 1


def test_a_client_that_does_not_read_its_responses_is_dropped(hasty: int) -> None:
    with connect(hasty) as client:
        client.setblocking(False)
        dropped = select.poll()
        dropped.register(client, 0)
        deadline = time.monotonic() + PATIENCE_S
        while not dropped.poll(20):
            assert time.monotonic() < deadline
            try:
                # As fast as it goes, few enough at a time to stay within the pipeline.
                client.send(get(path=b"/openapi.json"))
            except BlockingIOError:
                continue
            except ConnectionError:
                break


LONG_ANSWER = 12 * 2**20


@dataclass
class SlowReader:
    """A client of a server with a long answer; `later` is how far the server's clock is ahead of the real one."""

    client: socket.socket
    later: float = 0.0

    async def read(self, size: int) -> bytes:
        """Read `size` bytes, or less where the server closes before."""
        read = b""
        while len(read) < size and (piece := await asyncio.get_running_loop().sock_recv(self.client, size - len(read))):
            read += piece
        return read

    async def wait(self, seconds: float) -> None:
        """Let time pass, in steps in which the server looks at all its connections."""
        for _ in range(10):
            self.later += seconds / 10
            for _ in range(5):
                await asyncio.sleep(0)


@asynccontextmanager
async def slow_reader(monkeypatch: pytest.MonkeyPatch, request: bytes) -> AsyncIterator[SlowReader]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = (b"content-length", b"%d" % LONG_ANSWER)
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"x" * LONG_ANSWER})

    loop = asyncio.get_running_loop()
    config = uvicorn.Config(app, http=bounded_protocol(ConnectionLimits()), lifespan="off", log_config=None)
    protocol = config.http
    assert isinstance(protocol, type)
    config.load()
    state = ServerState()
    listener = await loop.create_server(lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.setblocking(False)
        await loop.sock_connect(client, listener.sockets[0].getsockname())
        await loop.sock_sendall(client, request)
        reader, clock, head = SlowReader(client), loop.time, b""
        while not head.endswith(b"\r\n\r\n"):
            head += await reader.read(1)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: clock() + reader.later)
            yield reader
    listener.close()


@pytest.mark.parametrize("request_", [get(), get(b"Connection: close")], ids=["kept", "closing"])
async def test_a_client_that_reads_a_long_answer_slowly_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    async with slow_reader(monkeypatch, request_) as reader:
        for _ in range(LONG_ANSWER // 2**19):
            await reader.wait(15.0)
            assert len(await reader.read(2**19)) == 2**19


@pytest.mark.parametrize("request_", [get(), get(b"Connection: close")], ids=["kept", "closing"])
async def test_a_client_that_reads_a_long_answer_by_drops_is_dropped(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    async with slow_reader(monkeypatch, request_) as reader:
        received = 0
        with suppress(ConnectionError):
            while reader.later < 3600 and (piece := await reader.read(5000)):
                received += len(piece)
                await reader.wait(15.0)
        assert received < LONG_ANSWER // 2


# Times


@pytest.mark.parametrize(
    "said",
    [b"", b"\r\n", b"GET /health HT", HEALTH, HEALTH + b"GET /hea", post(100), post(100, b"{"), HEALTH + post(100)],
    ids=["nothing", "newline", "half-head", "idle", "half-next", "no-body", "half-body", "half-next-body"],
)
def test_a_connection_that_falls_silent_is_closed(hasty: int, said: bytes) -> None:
    with connect(hasty) as client:
        client.sendall(said)
        assert rest(client).count(b"200 OK") == said.startswith(HEALTH)


@pytest.mark.parametrize(
    ("start", "drop"), [(b"GET /health HTTP/1.1\r\nx: ", b"y"), (post(10**6, b'"'), b" "), (b"", b"\r\n")]
)
def test_drops_do_not_keep_a_connection_open(hasty: int, start: bytes, drop: bytes) -> None:
    with connect(hasty) as client:
        client.sendall(start)
        deadline = time.monotonic() + PATIENCE_S
        while not select.select([client], [], [], 0.05)[0]:
            assert time.monotonic() < deadline
            send(client, (drop,))


@dataclass(eq=False)
class Reader:
    """A connection as the table of connections sees it."""

    address: str = "127.0.0.1"
    waiting_since: float | None = None
    dropped: bool = False

    def expire(self, now: float) -> None:
        """It is always in time."""

    def abort(self) -> None:
        self.dropped = True


async def test_clients_that_leave_too_much_unread_together_are_dropped_longest_first() -> None:
    table = ConnectionTable(ConnectionLimits())
    readers = [Reader() for _ in range(400)]
    for reader in readers:
        assert table.admit(reader)
    table.stall(readers[0], 100 * 2**20)
    for reader in readers[1:]:
        table.stall(reader, 2**16)
        if reader is readers[1]:
            table.resume(reader)
    assert [index for index, reader in enumerate(readers) if reader.dropped] == list(range(2, 247))
    assert len(table) == 400 - 245


def test_an_incomplete_head_times_out_with_an_error(hasty: int) -> None:
    assert refusal(hasty, b"GET /health HTTP/1.1\r\n") == (408, "request_timeout")


def test_an_answer_may_take_longer_than_a_client_may_be_silent(serve: Serve) -> None:
    with serve(latency_s=2.0, **SOON) as port, connect(port) as client:
        client.sendall(chat())
        assert answer(client)[0] == 200


def test_a_connection_whose_answer_came_before_its_body_ends_with_it(hasty: int) -> None:
    with connect(hasty) as client:
        client.sendall(post(10**9, b"x" * 2**18))
        received = rest(client)
    assert received.startswith(b"HTTP/1.1 413 ")


# How many


def test_an_addresss_newest_connection_takes_the_place_of_the_one_that_waited_longest(serve: Serve) -> None:
    with serve(max_per_address=3, idle_s=300) as port, ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(port)) for _ in range(3))
        for client in (first, second, third):
            client.sendall(HEALTH)
            assert answer(client)[0] == 200
        # Again at work, and so no longer the one that waited longest.
        first.sendall(HEALTH)
        assert answer(first)[0] == 200
        with connect(port) as fourth:
            fourth.sendall(HEALTH)
            assert answer(fourth)[0] == 200
            assert rest(second) == b""
            third.sendall(HEALTH)
            assert answer(third)[0] == 200


@pytest.mark.parametrize("limit", ["max_per_address", "max_connections"])
def test_connections_at_work_keep_their_places(serve: Serve, limit: str) -> None:
    with serve(latency_s=6.0, **{limit: 1}) as port, connect(port) as working:
        working.sendall(chat())
        code = ""
        deadline = time.monotonic() + PATIENCE_S
        # Until the server has read the request, the connection may still be dropped.
        while not code and time.monotonic() < deadline:
            with connect(port) as client:
                received = rest(client)
            code = json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] if received else ""
        assert code == "too_many_connections"
        assert answer(working)[0] == 200


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("a socket", "a socket"),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(host: str, network: str) -> None:
    assert network_of(host) == network
