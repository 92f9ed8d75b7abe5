"""The HTTP backend against a real server on loopback, well behaved and not."""

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web

from spar_core.backends.context import bind_calls
from spar_core.backends.openai import OpenAIBackend, Timeouts
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)
from spar_core.types import Delta, Message, Sampling, Usage
from tests.support.loopback import DONE, HELLO, Handler, answer, chunk, replying, streaming, upstream


async def test_a_completion_and_its_request() -> None:
    seen: dict[str, Any] = {}

    async def handle(request: web.Request) -> web.Response:
        seen.update(await request.json(), auth=request.headers.get("Authorization"))
        return web.json_response(answer())

    async with upstream(handle, api_key="k") as backend:
        sampling = Sampling(temperature=0.5, max_tokens=9, stop=("x",), seed=1, extra={"logit_bias": {"1": 2}})
        completion = await backend.complete(HELLO, sampling)
    assert (completion.text, completion.finish_reason, completion.usage) == ("Hello", "stop", Usage(3, 2))
    assert seen == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi", "name": "ann"}],
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 9,
        "stop": ["x"],
        "seed": 1,
        "logit_bias": {"1": 2},
        "auth": "Bearer k",
    }


async def test_fields_that_are_not_set_are_not_sent() -> None:
    async def handle(request: web.Request) -> web.Response:
        assert set(await request.json()) == {"model", "messages", "temperature", "top_p"}
        return web.json_response(answer())

    async with upstream(handle) as backend:
        await backend.complete(HELLO, Sampling())


async def test_reasoning_is_not_part_of_the_answer() -> None:
    message = {"content": "Hello", "reasoning_content": "hm", "tool_calls": [{"id": "1"}]}
    async with upstream(replying(answer(choices=[{"message": message, "finish_reason": "tool_calls"}]))) as backend:
        completion = await backend.complete(HELLO, Sampling())
    assert completion.text == "Hello"
    assert completion.extra == {"reasoning": "hm", "tool_calls": [{"id": "1"}]}
    assert completion.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("body", "status", "headers", "error"),
    [
        ({"error": {"message": "slow down"}}, 429, {"Retry-After": "7"}, BackendOverloaded),
        ("busy", 503, None, BackendOverloaded),
        ("boom", 500, None, BackendUnavailable),
        ("late", 504, None, BackendTimeout),
        ({"error": {"message": "too long"}}, 400, None, BackendRejected),
        ({"error": {"message": "oops"}}, 200, None, BackendProtocol),
        ("not json", 200, None, BackendProtocol),
        ("[]", 200, None, BackendProtocol),
        ({"choices": []}, 200, None, BackendProtocol),
        ({"choices": [{}]}, 200, None, BackendProtocol),
    ],
)
async def test_every_bad_answer_is_a_typed_error(
    body: Any, status: int, headers: dict[str, str] | None, error: type[BackendError]
) -> None:
    async with upstream(replying(body, status, headers)) as backend:
        with pytest.raises(error) as caught:
            await backend.complete(HELLO, Sampling())
        with pytest.raises(BackendError):
            async for _ in backend.stream(HELLO, Sampling()):
                pass
    if isinstance(caught.value, BackendOverloaded):
        assert caught.value.retry_after == (7.0 if headers else None)


async def test_retry_after_may_be_a_date() -> None:
    async with upstream(replying("x", 503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})) as backend:
        with pytest.raises(BackendOverloaded) as caught:
            await backend.complete(HELLO, Sampling())
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1e6


async def test_a_stream_may_break_anywhere() -> None:
    whole = (
        b": hi\r\n\r\n"
        + chunk(role="assistant", content="")
        + chunk(content="Grüße ").replace(b"\n", b"\r\n")
        + chunk(content="日本")
        + chunk(finish="stop")
        + b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    )
    for size in (1, 3, 1000):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        handler = streaming(*([b"".join(pieces[:-1]), pieces[-1]] if size == 1 else pieces))
        async with upstream(handler) as backend:
            deltas = [delta async for delta in backend.stream(HELLO, Sampling())]
        assert "".join(delta.text for delta in deltas) == "Grüße 日本"
        assert (deltas[-1].finish_reason, deltas[-1].usage) == ("stop", Usage(3, 4))


@pytest.mark.parametrize("handler", [streaming(chunk(content="Hel")), streaming(chunk(content="Hel"), reset=True)])
async def test_a_truncated_stream_is_an_error(handler: Handler) -> None:
    async with upstream(handler) as backend:
        with pytest.raises(BackendUnavailable):
            async for _ in backend.stream(HELLO, Sampling()):
                pass


async def test_a_server_that_does_not_stream_yields_one_delta() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hello", "tool_calls": [call]}
    whole = answer(choices=[{"message": message, "finish_reason": "tool_calls"}])
    async with upstream(replying(whole)) as backend:
        assert [delta async for delta in backend.stream(HELLO, Sampling())] == [
            Delta("Hello", "tool_calls", Usage(3, 2), {"tool_calls": [{"index": 0} | call]})
        ]
        assert [piece async for piece in backend.forward_stream("/chat/completions", {})] == [whole]


async def test_a_closed_port_is_unavailable() -> None:
    backend = OpenAIBackend(base_url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(BackendUnavailable) as caught:
        await backend.complete(HELLO, Sampling())
    await backend.aclose()
    # The message may reach a client, which must not see the address.
    assert "127.0.0.1" not in str(caught.value)


async def test_a_stall_is_a_timeout() -> None:
    async def handle(request: web.Request) -> web.Response:
        await asyncio.sleep(600)
        return web.Response()

    async with upstream(handle, timeouts=Timeouts(answer=0.1)) as backend:
        with pytest.raises(BackendTimeout):
            await backend.complete(HELLO, Sampling())


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_aborts_the_upstreams_work(stream: bool) -> None:
    started, aborted = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        try:
            if stream:
                await response.prepare(request)
                await response.write(chunk(content="x"))
            started.set()
            await asyncio.sleep(600)
        except (asyncio.CancelledError, ConnectionError):
            aborted.set()
            raise
        return response

    async def read(backend: OpenAIBackend) -> None:
        if stream:
            async for _ in backend.stream(HELLO, Sampling()):
                pass
        else:
            await backend.complete(HELLO, Sampling())

    async with upstream(handle) as backend:
        task = asyncio.create_task(read(backend))
        await started.wait()
        task.cancel()
        await asyncio.wait_for(aborted.wait(), 60)


async def test_log_probabilities_of_a_stream_come_with_their_text() -> None:
    told = {"content": [{"token": "Hi", "logprob": -0.5}]}
    piece = {"choices": [{"delta": {"content": "Hi"}, "logprobs": told}]}
    handler = streaming(f"data: {json.dumps(piece)}\n\n".encode(), chunk(finish="stop"), DONE)
    async with upstream(handler) as backend:
        deltas = [delta async for delta in backend.stream(HELLO, Sampling())]
    assert (deltas[0].text, deltas[0].extra) == ("Hi", {"logprobs": told})


async def test_unset_parameters_are_left_to_the_upstream() -> None:
    async def handle(request: web.Request) -> web.Response:
        assert set(await request.json()) == {"model", "messages"}
        return web.json_response(answer())

    async with upstream(handle) as backend:
        await backend.complete(HELLO, Sampling(temperature=None, top_p=None))


async def test_a_stream_times_out_before_its_first_token_and_between_tokens_but_not_on_slow_ones() -> None:
    def pieces(waits: list[float], *, comments: bool = False) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for wait in waits:
                for _ in range(round(wait / 0.1)):
                    await asyncio.sleep(0.1)
                    if comments:
                        await response.write(b": still here\n\ndata: " + b'{"choices": [{"delta": {}}]}\n\n')
                await response.write(chunk(content="x"))
            await response.write(chunk(finish="stop") + DONE)
            return response

        return handle

    async def received(handler: Handler, timeouts: Timeouts) -> tuple[str, bool]:
        """The text that came, and whether the stream was complete."""
        text = ""
        async with upstream(handler, timeouts=timeouts) as backend:
            try:
                async for delta in backend.stream(HELLO, Sampling()):
                    text += delta.text
            except BackendTimeout:
                return text, False
        return text, True

    # Slow in all, but no token is late.
    assert await received(pieces([0.4] * 8), Timeouts(first_token=3, between_tokens=3)) == ("x" * 8, True)
    late_first, late_next = Timeouts(first_token=0.5), Timeouts(between_tokens=0.5)
    assert await received(pieces([600]), late_first) == ("", False)
    assert await received(pieces([600], comments=True), late_first) == ("", False)
    assert await received(pieces([0, 600], comments=True), late_next) == ("x", False)


async def test_the_time_that_the_reader_takes_is_not_the_upstreams() -> None:
    handler = streaming(chunk(content="a"), chunk(content="b"), chunk(finish="stop"), DONE)
    async with upstream(handler, timeouts=Timeouts(between_tokens=2)) as backend:
        text = ""
        async for delta in backend.stream(HELLO, Sampling()):
            text += delta.text
            if text == "a":
                await asyncio.sleep(3)
    assert text == "ab"


async def test_a_stream_that_ends_before_its_usage_is_truncated() -> None:
    async with upstream(streaming(chunk(content="a"), chunk(finish="stop"))) as backend:
        with pytest.raises(BackendUnavailable):
            async for _ in backend.stream(HELLO, Sampling()):
                pass


@pytest.mark.parametrize(
    "body",
    [
        {"choices": 1},
        {"choices": ["x"]},
        {"choices": [{"message": [], "delta": ["x"]}]},
        {"choices": [{"message": {"content": 3}, "delta": {"content": 3}}]},
        {"choices": [{"message": {"content": "x"}, "delta": {"content": "x"}}], "usage": [1]},
        {"choices": [{"message": {"content": "x"}, "delta": {"content": "x"}}], "usage": {"prompt_tokens": "many"}},
    ],
)
async def test_an_answer_of_another_shape_is_a_protocol_error(body: Any) -> None:
    async with upstream(replying(body)) as backend:
        with pytest.raises(BackendProtocol):
            await backend.complete(HELLO, Sampling())
    async with upstream(streaming(f"data: {json.dumps(body)}\n\n".encode())) as backend:
        with pytest.raises(BackendProtocol):
            async for _ in backend.stream(HELLO, Sampling()):
                pass


@pytest.mark.parametrize("stream", [False, True])
async def test_connections_are_used_again(stream: bool) -> None:
    peers: set[Any] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        peers.add(request.transport and request.transport.get_extra_info("peername"))
        if not stream:
            return web.json_response(answer())
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(chunk(content="x") + chunk(finish="stop") + DONE)
        # The end of the body is a separate packet, as with most servers.
        await asyncio.sleep(0.02)
        return response

    async with upstream(handle) as backend:
        for _ in range(3):
            if stream:
                assert [delta.text async for delta in backend.stream(HELLO, Sampling())] == ["x", ""]
            else:
                await backend.complete(HELLO, Sampling())
    assert len(peers) == 1


async def test_the_request_id_goes_upstream_and_is_each_calls_own() -> None:
    seen: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Request-Id"))
        return web.json_response(answer())

    async with upstream(handle) as backend:
        await backend.complete(HELLO, Sampling())
        bind_calls(request_id="abc")
        await asyncio.gather(*(backend.complete(HELLO, Sampling()) for _ in range(2)))
    first, *own = seen
    assert first is None
    assert len(set(own)) == 2
    assert all(name is not None and name.startswith("abc-") for name in own)


@pytest.mark.parametrize(
    ("health", "models", "alive"),
    [(200, 500, True), (503, 200, False), (404, 200, True), (404, 401, True), (404, 502, False)],
)
async def test_a_server_is_alive_by_its_health_or_else_its_models(health: int, models: int, alive: bool) -> None:
    def route(status: int) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return web.Response(status=status)

        return handle

    routes = {"/health": route(health), "/v1/models": route(models)}
    async with upstream(replying(answer()), routes=routes) as backend:
        assert await backend.alive() is alive


async def test_a_closed_port_is_not_alive() -> None:
    backend = OpenAIBackend(base_url="http://127.0.0.1:9/v1", model="m")
    assert not await backend.alive()
    await backend.aclose()


async def test_deltas_that_arrive_together_are_one_batch_followed_by_the_error() -> None:
    def said(text: str) -> bytes:
        return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"

    go = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(said("a") + said("b") + said("c")[:10])
        await go.wait()
        await response.write(said("c")[10:] + b"data: {broken\n\n" + said("d"))
        return response

    async with upstream(handle) as backend:
        batches = backend.stream_batches(HELLO, Sampling())
        assert [delta.text for delta in await anext(batches)] == ["a", "b"]
        go.set()
        assert [delta.text for delta in await anext(batches)] == ["c"]
        with pytest.raises(BackendProtocol):
            await anext(batches)


async def test_a_url_may_have_credentials_and_an_answer_may_be_compressed() -> None:
    async def handle(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"ann:p w").decode()
        assert "@" not in request.headers["Host"]
        response = web.json_response(answer())
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with upstream(handle) as plain:
        backend = OpenAIBackend(base_url=plain.name.replace("://", "://ann:p%20w@"), model="m")
        assert (await backend.complete(HELLO, Sampling())).text == "Hello"
        await backend.aclose()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", BackendUnavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}", BackendUnavailable),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BackendUnavailable),
        (b"", BackendUnavailable),
        (b"HTTP/1.1 204 No Content\r\n\r\n", BackendProtocol),
        # Interim answers are skipped, and an answer may end with its connection.
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\n" + json.dumps(answer()).encode(), None),
    ],
)
async def test_a_server_that_does_not_speak_http_is_unavailable(said: bytes, error: type[BackendError] | None) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        backend = OpenAIBackend(base_url=f"http://127.0.0.1:{port}/v1", model="m")
        try:
            if error is None:
                assert (await backend.complete(HELLO, Sampling())).text == "Hello"
                return
            with pytest.raises(error):
                await backend.complete(HELLO, Sampling())
            with pytest.raises(BackendError):
                _ = [delta async for delta in backend.stream(HELLO, Sampling())]
        finally:
            await backend.aclose()


async def test_no_stream_takes_longer_than_every_call_may() -> None:
    # More than anyone waits for.
    handler = streaming(*[chunk(content="x")] * 100_000)
    for reader_s in (0.0, 0.02):

        async def read(backend: OpenAIBackend, reader_s: float = reader_s) -> None:
            async for _ in backend.stream(HELLO, Sampling()):
                await asyncio.sleep(reader_s)

        async with upstream(handler, timeouts=Timeouts(total=0.3)) as backend:
            with pytest.raises(BackendTimeout):
                await read(backend)


async def test_a_key_with_a_line_end_is_not_sent() -> None:
    async with upstream(replying(answer()), api_key="k\r\nX-Other: 1") as backend:
        with pytest.raises(ValueError, match="line break"):
            await backend.complete(HELLO, Sampling())


async def test_lone_surrogates_and_invalid_utf_8_are_read_and_written() -> None:
    said: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        said.append(await request.read())
        if b'"stream"' in said[-1]:
            pieces = [b'data: {"choices": [{"delta": {"content": "a\\ud83d\xff"}}]}\n\n', chunk(finish="stop"), DONE]
            return await streaming(*pieces)(request)
        content = b'{"choices": [{"message": {"content": "a\\ud83d\xff"}, "finish_reason": "stop"}]}'
        return web.Response(body=content, content_type="application/json")

    async with upstream(handle) as backend:
        completion = await backend.complete([Message("user", "b\ud83dé")], Sampling())
        assert completion.text == "a\ufffd\ufffd"
        assert [delta.text async for delta in backend.stream(HELLO, Sampling())] == ["a\ufffd\ufffd", ""]
    assert json.loads(said[0])["messages"][0]["content"] == "b\ud83dé"


async def test_a_surrogate_pair_split_by_the_upstream_is_joined() -> None:
    pieces = [chunk(content="a\ud83d"), chunk(content="\ude00b"), chunk(content="\ud83d"), chunk(finish="stop"), DONE]
    async with upstream(streaming(*pieces)) as backend:
        said = [delta.text async for delta in backend.stream(HELLO, Sampling())]
    assert "".join(said) == "a\U0001f600b\ufffd"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"choices": [{"message": {"content": "", "tool_calls": "oops"}}]}, "tool_calls"),
        ({"usage": {"prompt_tokens": "3"}}, "usage"),
    ],
)
async def test_a_malformed_part_is_named(changed: dict[str, Any], said: str) -> None:
    async with upstream(replying(answer(**changed))) as backend:
        with pytest.raises(BackendProtocol, match=said):
            await backend.complete(HELLO, Sampling())


async def test_json_that_is_nested_too_deep_is_a_protocol_error() -> None:
    async with upstream(replying('{"choices": ' + "[" * 100_000)) as backend:
        with pytest.raises(BackendProtocol, match="invalid JSON"):
            await backend.complete(HELLO, Sampling())


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 7.0, "completion_tokens": None}, Usage(7, 0, completion_counted=False)),
        ({"prompt_tokens": -3, "completion_tokens": 2}, Usage(0, 2)),
        ({"prompt_tokens": 10**40, "completion_tokens": 2}, Usage(10**12, 2)),
    ],
)
async def test_only_sensible_token_counts_are_used(usage: dict[str, Any], counted: Usage) -> None:
    async with upstream(replying(answer(usage=usage))) as backend:
        assert (await backend.complete(HELLO, Sampling())).usage == counted


async def test_a_malformed_choice_does_not_affect_the_others() -> None:
    good = answer()["choices"][0]
    async with upstream(replying(answer(choices=[None, good, {"message": 5}, good]))) as backend:
        completions = await backend.complete_many(HELLO, Sampling(), 4)
    assert [each.text for each in completions] == ["Hello", "Hello"]
    assert [each.usage for each in completions] == [Usage(3, 2), Usage()]


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "Fri, 99 Foo 99999"])
async def test_an_invalid_retry_after_is_ignored(value: str) -> None:
    async with upstream(replying({}, status=429, headers={"Retry-After": value})) as backend:
        with pytest.raises(BackendOverloaded) as caught:
            await backend.complete(HELLO, Sampling())
    assert caught.value.retry_after is None
