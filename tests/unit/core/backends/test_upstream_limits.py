"""A broken or hostile upstream can neither fill this process nor redirect the prompt elsewhere."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
from aiohttp import web

from spar_core.backends.context import bind_calls
from spar_core.backends.openai import OpenAIBackend
from spar_core.errors import BackendError, BackendProtocol, BackendRejected, BackendUnavailable
from spar_core.types import Sampling
from tests.support.loopback import DONE, HELLO, Handler, answer, chunk, replying, streaming, upstream

SHORT = Sampling(max_tokens=16)
MIB = 2**20


async def whole(backend: OpenAIBackend) -> None:
    await backend.complete(HELLO, SHORT)


async def stream(backend: OpenAIBackend) -> None:
    async for _ in backend.stream_batches(HELLO, SHORT):
        pass


async def forwarded(backend: OpenAIBackend) -> None:
    await backend.forward("/chat/completions", {"prompt": "x", "max_tokens": 16})


async def forwarded_stream(backend: OpenAIBackend) -> None:
    async for _ in backend.forward_stream("/chat/completions", {"prompt": "x", "max_tokens": 16, "stream": True}):
        pass


WAYS: list[Callable[[OpenAIBackend], Awaitable[None]]] = [whole, stream, forwarded, forwarded_stream]


@cache
def packed(line: bytes) -> bytes:
    """128 MiB of an answer, compressed to about 128 KiB."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    block = line * (MIB // len(line))
    return b"".join([packer.compress(block) for _ in range(128)]) + packer.flush()


def bomb(*, status: int = 200, kind: str = "application/json", line: bytes = b" ") -> Handler:
    """A small answer that decompresses to a large one of repeated `line`s."""

    async def handle(request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": kind}
        return web.Response(body=packed(line), status=status, headers=headers)

    return handle


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("application/json", b" "),
        ("text/event-stream", b" "),
        ("text/event-stream", b": comment\n"),
        ("text/event-stream", chunk(content="x")),
    ],
)
async def test_an_answer_is_read_up_to_its_size_limit(
    ask: Callable[[OpenAIBackend], Awaitable[None]], kind: str, line: bytes
) -> None:
    async with upstream(bomb(kind=kind, line=line)) as backend:
        tracemalloc.start()
        try:
            with pytest.raises(BackendProtocol, match=r"larger|invalid JSON"):
                await ask(backend)
            assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("ask", WAYS)
async def test_only_the_beginning_of_an_error_is_read(
    ask: Callable[[OpenAIBackend], Awaitable[None]], status: int
) -> None:
    async with upstream(bomb(status=status)) as backend:
        tracemalloc.start()
        try:
            with pytest.raises(BackendError) as caught:
                await ask(backend)
            assert caught.value.status == status
            assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        finally:
            tracemalloc.stop()


async def test_the_size_limit_grows_with_the_requested_tokens() -> None:
    async def long(request: web.Request) -> web.Response:
        message = {"role": "assistant", "content": "word " * 600_000}
        return web.json_response(answer(choices=[{"message": message, "finish_reason": "stop"}]))

    async with upstream(long) as backend:
        assert len((await backend.complete(HELLO, Sampling())).text) == 3_000_000
        assert len((await backend.complete(HELLO, Sampling(max_tokens=600_000))).text) == 3_000_000
        with pytest.raises(BackendProtocol, match="larger than the request allows"):
            await backend.complete(HELLO, SHORT)


async def test_embeddings_may_be_as_long_as_there_are_texts() -> None:
    async def embed(request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        return web.json_response({"data": [{"index": n, "embedding": [0.123456789] * 4096} for n in range(len(texts))]})

    async with upstream(embed, path="/v1/embeddings") as backend:
        assert len((await backend.forward("/embeddings", {"input": ["x"] * 64}))["data"]) == 64


LONG_VECTOR = [0.5, -1e-7, float("nan"), 3, float("-inf")] * 5000


async def test_many_embeddings_are_read_off_the_loop_and_number_by_number() -> None:
    sizes: list[int] = []

    async def do(work: Callable[[], Any], size: int) -> Any:
        sizes.append(size)
        return work()

    data = [{"embedding": LONG_VECTOR}, {"embedding": [0.5]}, {"embedding": [LONG_VECTOR, [[]]]}, "x"]
    body = {"data": data, "model": "m", "usage": {"prompt_tokens": 2}}
    async with upstream(replying(body), path="/v1/embeddings") as backend:
        bind_calls(off_loop=do)
        # NaN is not equal to itself.
        assert repr(await backend.forward("/embeddings", {"input": "x"})) == repr(body)
    assert sizes[0] >= 2 * len(LONG_VECTOR)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"data": [{"1, " * 100}]}}',
        f'{{"data": [{"." * 100}]}}',
        f'{{"data": "[{"1, " * 100}]"}}',
        f"[{'1,' * 100}1]",
        f'{{"data": [{"[]," * 3_000_000}[]]}}',
        '{"error": {"message": "x"}}',
    ],
)
async def test_embeddings_that_are_none_are_an_upstreams_error(text: str) -> None:
    async with upstream(replying(text), path="/v1/embeddings") as backend:
        with pytest.raises(BackendProtocol):
            await backend.forward("/embeddings", {"input": ["x"] * 40})


async def test_a_large_answer_does_not_keep_other_tasks_waiting() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with upstream(bomb(kind="text/event-stream", line=b": comment\n")) as backend:
        counting = asyncio.create_task(count())
        with pytest.raises(BackendProtocol):
            async for _ in backend.stream(HELLO, Sampling(max_tokens=32_768)):
                pass
        counting.cancel()
    # 33 MiB were read.
    assert turns > 33


async def test_a_line_in_many_pieces_is_read_once() -> None:
    text = "x" * 400_000
    event = chunk(content=text)
    pieces = [event[start : start + 4000] for start in range(0, len(event), 4000)]

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in (*pieces, chunk(finish="stop"), DONE):
            await response.write(piece)
        return response

    async with upstream(handle) as backend:
        assert "".join([delta.text async for delta in backend.stream(HELLO, SHORT)]) == text


@pytest.mark.parametrize("status", [307, 308])
async def test_a_server_that_has_moved_is_followed(status: int) -> None:
    seen: list[tuple[str, Any, str | None]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append((request.path_qs, await request.json(), request.headers.get("X-Request-Id")))
        if not request.query:
            return web.Response(status=status, headers={"Location": "/v1/chat/completions?moved=1"})
        if not seen[-1][1].get("stream"):
            return web.json_response(answer())
        return await streaming(chunk(content="Hello"), chunk(finish="stop"), DONE)(request)

    async with upstream(handle) as backend:
        bind_calls(request_id="abc")
        assert (await backend.complete(HELLO, Sampling())).text == "Hello"
        assert [delta.text async for delta in backend.stream(HELLO, Sampling())] == ["Hello", ""]
    assert [body.get("stream") for path, body, _ in seen if "moved" in path] == [None, True]
    assert all(name is not None and name.startswith("abc-") for _, _, name in seen)


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[str]]]:
    """Another server, and the requests that it gets."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.json_response(answer())

    async with upstream(handle) as backend:
        yield backend.name.removesuffix("/v1"), asked


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_prompt_follows_a_redirect_to_another_origin(
    ask: Callable[[OpenAIBackend], Awaitable[None]], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with elsewhere() as (url, asked):

        async def handle(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{url}/v1/chat/completions"})

        async with upstream(handle, routes={"/health": handle}) as backend:
            with pytest.raises(BackendRejected) as caught:
                await ask(backend)
            await backend.alive()
    assert asked == []
    assert caught.value.status == status
    assert "redirects to another address" in caplog.text
    assert url not in str(caught.value)


@pytest.mark.parametrize("location", ["", "http://[", "ftp://127.0.0.1/", "//other.test/x", "\udcff"])
async def test_a_redirect_that_leads_nowhere_is_an_error(location: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        head = b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: "
        writer.write(head + location.encode(errors="surrogateescape") + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        backend = OpenAIBackend(base_url=f"http://127.0.0.1:{port}/v1", model="m")
        with pytest.raises((BackendRejected, BackendUnavailable)):
            await backend.complete(HELLO, SHORT)
        await backend.aclose()


async def test_a_redirect_in_a_circle_ends() -> None:
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=307, headers={"Location": f"/v1/chat/completions?n={asked}"})

    async with upstream(handle) as backend:
        with pytest.raises(BackendRejected):
            await backend.complete(HELLO, SHORT)
    assert asked == 4


# Many small things


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,"])
async def test_an_answer_holds_no_more_values_than_its_length_can_need(
    way: Callable[[OpenAIBackend], Awaitable[None]], piece: bytes
) -> None:
    body = b'{"x": [' + piece * 100_000 + piece.strip(b",") + b"]}"

    async def handle(request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return web.Response(body=body, content_type="application/json")
        return await streaming(b"data: " + body + b"\n\n")(request)

    async with upstream(handle) as backend:
        with pytest.raises(BackendProtocol, match="more values"):
            await way(backend)


async def test_a_text_of_brackets_and_commas_is_an_answer() -> None:
    text = "[1, 2], " * 2_000

    async with upstream(replying(answer(choices=[{"message": {"content": text}}]))) as backend:
        assert (await backend.complete(HELLO, Sampling(max_tokens=12_000))).text == text


async def test_interim_answers_without_end_are_a_failure() -> None:
    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        for _ in range(100):
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return web.Response()

    async with upstream(handle) as backend:
        with pytest.raises(BackendUnavailable):
            await backend.complete(HELLO, SHORT)


async def test_an_interim_answer_is_skipped() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        return await replying(answer())(request)

    async with upstream(handle) as backend:
        assert (await backend.complete(HELLO, SHORT)).text == "Hello"
