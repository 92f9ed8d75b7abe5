"""Reporting an upstream's errors: to clients in our own words, to the log without keys and prompts."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aiohttp import web

from spar_core.backends.openai import OpenAIBackend
from spar_core.errors import BackendError, BackendRejected
from spar_core.types import Message, Sampling
from tests.support.loopback import replying, streaming, upstream

PROMPT = "Please summarise the confidential merger of Acme and Umbrella for me"
SECRETS = ("sk-abc123", "10.1.2.3", "confidential", "Umbrella", "hunter2")
LEAK = f"key sk-abc123def at http://admin:hunter2@10.1.2.3/v1 choked on: {PROMPT}"
BODIES: list[Any] = [
    {"error": {"message": LEAK}},
    {"error": {"message": "x", "param": LEAK, "code": LEAK, "type": LEAK}},
    {"error": LEAK},
    {"detail": [{"loc": ["body", "temperature"], "msg": LEAK, "input": PROMPT}]},
    LEAK,
    json.dumps(LEAK),
]


async def failed(backend: OpenAIBackend, *, stream: bool = False, **extra: Any) -> BackendError:
    asked = ([Message("user", PROMPT)], Sampling(max_tokens=5, extra={"tools": [], **extra}))
    try:
        if stream:
            _ = [delta async for delta in backend.stream(*asked)]
        else:
            await backend.complete(*asked)
    except BackendError as error:
        return error
    raise AssertionError("it was answered")


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400, 401, 418, 429, 500, 504])
@pytest.mark.parametrize("body", BODIES)
async def test_no_text_of_an_upstream_reaches_a_client(
    body: Any, status: int, stream: bool, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level)
    async with upstream(replying(body, status), api_key="Sesame") as backend:
        error = await failed(backend, stream=stream)
    for secret in SECRETS:
        assert secret not in f"{error} {getattr(error, 'param', '')} {getattr(error, 'code', '')}"
        if secret != "10.1.2.3" or level > logging.DEBUG:
            # Operators may see the addresses.
            assert secret not in caplog.text
    if level > logging.DEBUG:
        assert not any(word in caplog.text for word in ("choked", "admin"))


async def test_no_text_of_an_error_within_a_stream_reaches_a_client() -> None:
    error = f"data: {json.dumps({'error': {'message': LEAK}})}\n\n".encode()
    async with upstream(streaming(error)) as backend:
        told = await failed(backend, stream=True)
    assert str(told) == "the upstream sent an error instead of an answer"


async def test_the_debug_log_has_the_upstreams_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "spar_core")
    said = {"error": {"message": f"CUDA out of memory, key Sesame ({PROMPT[7:40]})"}}
    async with upstream(replying(said, 500), api_key="Sesame") as backend:
        await failed(backend)
    assert caplog.records[-1].levelno == logging.DEBUG
    assert caplog.records[-1].getMessage() == (
        f"{backend.name}/chat/completions said: CUDA out of memory, key [key] ([text of the request])"
    )


@pytest.mark.parametrize(
    ("status", "logged"),
    [(401, "it refuses the key"), (404, "it has no such model or route"), (500, "it failed"), (400, None),
     (429, None)],
)  # fmt: skip
async def test_operator_problems_are_logged_with_the_address(
    caplog: pytest.LogCaptureFixture, status: int, logged: str | None
) -> None:
    async with upstream(replying({"error": {"message": "no"}}, status)) as backend:
        await failed(backend)
        await failed(backend, stream=True)
    line = f"{backend.name}/chat/completions: upstream answered {status}: {logged}"
    assert [record.getMessage() for record in caplog.records] == [line] * 2 * (logged is not None)


async def test_no_password_of_an_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(replying({}, 500)) as plain:
        backend = OpenAIBackend(base_url=plain.name.replace("://", "://ann:hunter2@"), model="m")
        await failed(backend)
        await backend.aclose()
    assert "hunter2" not in caplog.text
    assert plain.name in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens and your request has 7",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_prompt_that_is_too_long_is_reported_with_the_context_length(message: str, status: int) -> None:
    async with upstream(replying({"error": {"message": message, "type": "BadRequestError"}}, status)) as backend:
        error = await failed(backend)
    assert isinstance(error, BackendRejected)
    assert error.code == "context_length_exceeded"
    # Client libraries recognise these words.
    assert "this model's maximum context length is 4096 tokens" in str(error)


async def test_a_prompt_that_is_too_long_is_reported_without_a_known_length() -> None:
    said = {"error": {"message": "no", "code": "context_length_exceeded"}}
    async with upstream(replying(said, 400)) as backend:
        error = await failed(backend)
    assert isinstance(error, BackendRejected)
    assert (error.code, "maximum context length is exceeded" in str(error)) == ("context_length_exceeded", True)


@pytest.mark.parametrize(
    ("said", "code", "param", "told"),
    [
        ({"param": "temperature"}, None, "temperature", "it refuses the request for its temperature"),
        ({"param": "messages[3].content", "code": "invalid_value"}, "invalid_value", "messages[3]",
         "it does not take this value of messages[3]"),
        ({"param": "tools", "code": "unsupported_parameter"}, "unsupported_parameter", "tools",
         "it does not support tools"),
        ({"code": "content_policy_violation"}, "content_policy_violation", None, "its content filter refused"),
        ({"message": "top_k must be positive"}, None, "top_k", "it refuses the request for its top_k"),
        ({"message": "{'loc': ('body', 'top_p'), 'input': 7}"}, None, "top_p", "for its top_p"),
        ({"message": "the model cannot stop", "code": 400}, None, None, "it refuses the request"),
        ({"param": "hidden_setting", "code": "odd_code"}, None, None, "it refuses the request"),
        ({"param": ["temperature"], "code": ["x"]}, None, None, "it refuses the request"),
    ],
)  # fmt: skip
async def test_known_codes_and_fields_of_a_refusal_are_kept(
    said: dict[str, Any], code: str | None, param: str | None, told: str
) -> None:
    async with upstream(replying({"error": {"message": "no"} | said}, 400)) as backend:
        error = await failed(backend, top_k=-3)
    assert isinstance(error, BackendRejected)
    assert (error.code, error.param) == (code, param)
    assert told in str(error)


async def test_an_answer_that_is_not_http_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    async def garble(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(f"HTTP/1.1 {PROMPT}\r\n\r\n".encode())
        request.transport.close()
        return web.Response()

    caplog.set_level(logging.DEBUG)
    async with upstream(garble) as backend:
        error = await failed(backend)
    assert "Umbrella" not in f"{error} {caplog.text}"
