"""Malformed bodies at every endpoint that takes one: refused in the API's shape, no 5xx, no traceback in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_server.http.json_route import MAX_DEPTH
from tests.support.malformed import BROKEN, FIELDS, ODD_VALUES, SOUND, spoilt
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
JSON = {"Content-Type": "application/json"}


def written(messages: Any, sampling: Any) -> str:
    """What reaches the actor can be written as the JSON that an upstream reads."""
    asked = [[message.to_openai() for message in messages], sampling.extra, sampling.temperature, sampling.stop]
    json.dumps(asked, allow_nan=False).encode()
    return "a plain draft"


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    pair = replace(scripted_pair(), actor=RawScripted(written))
    with serving(pair) as url, httpx.Client(base_url=url, headers=JSON) as client:
        yield client


@pytest.fixture
def silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged that the operator would have to look into."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def assert_refused(response: httpx.Response, what: object) -> None:
    assert 400 <= response.status_code < 500, what
    error = response.json()["error"]
    anthropic = response.url.path == "/v1/messages"
    assert set(error) == ({"message", "type"} if anthropic else {"message", "type", "param", "code"}), what


@pytest.mark.parametrize("path", SOUND)
@pytest.mark.usefixtures("silent")
def test_bodies_that_are_no_request_are_refused(client: httpx.Client, path: str) -> None:
    for name, body in BROKEN.items():
        assert_refused(client.post(path, content=body), name)


REFINED: dict[str, Any] = {"refine_budget": 1}
STREAMED: dict[str, Any] = {"stream": True}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", REFINED),
        ("/v1/chat/completions", STREAMED),
        ("/v1/responses", REFINED),
        ("/v1/responses", STREAMED),
        ("/v1/messages", REFINED),
        ("/v1/messages", STREAMED),
        ("/v1/judge", {}),
        ("/v1/reward", {}),
        ("/get_reward", {}),
        ("/v1/refine", {}),
        ("/v1/completions", {}),
        ("/v1/completions", STREAMED),
        ("/v1/embeddings", {}),
    ],
)
@pytest.mark.usefixtures("silent")
def test_no_value_of_any_field_breaks_the_server(client: httpx.Client, path: str, more: dict[str, Any]) -> None:
    for field in FIELDS[path]:
        for value in ODD_VALUES:
            response = client.post(path, content=spoilt(path, field, value, **more))
            assert response.status_code < 500, (field, value, response.text)
            if response.status_code != 200:
                assert_refused(response, (field, value))
            elif "event-stream" in response.headers["content-type"]:
                assert '"error":{' not in response.text, (field, value, response.text)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "odd", "refine.threshold", "messages.0.name"])
def test_a_number_that_is_none_is_refused_by_the_fields_name(client: httpx.Client, field: str, value: bytes) -> None:
    response = client.post("/v1/chat/completions", content=spoilt("/v1/chat/completions", field, value))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, field)
    assert "finite" in error["message"]


def test_half_characters_are_refused_by_their_place(client: httpx.Client) -> None:
    for field, value, param in (
        ("messages.0.content", b'"\\ud800"', "messages.0.content"),
        ("metadata", b'{"\\udfff": 1}', "metadata"),
    ):
        body = spoilt("/v1/chat/completions", field, value)
        error = client.post("/v1/chat/completions", content=body).json()["error"]
        assert error["param"] == param
        assert "surrogate" in error["message"]
    whole = spoilt("/v1/chat/completions", "messages.0.content", b'"\\ud83d\\ude00"')
    assert client.post("/v1/chat/completions", content=whole).status_code == 200


def test_nesting_has_an_end(client: httpx.Client) -> None:
    # The body itself is a level, and so is the list that the innermost one is.
    for depth, status in ((MAX_DEPTH - 2, 200), (MAX_DEPTH, 400)):
        body = spoilt("/v1/chat/completions", "documents", b"[" * depth + b"]" * depth)
        assert client.post("/v1/chat/completions", content=body).status_code == status


def test_the_last_of_two_equal_keys_counts(client: httpx.Client) -> None:
    body = b'{"model": "other", "messages": [{"role": "user", "content": "Hi"}], "model": "pair"}'
    assert client.post("/v1/chat/completions", content=body).status_code == 200


@pytest.mark.parametrize("path", SOUND)
def test_only_json_is_read_as_json(client: httpx.Client, path: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        response = client.post(path, content=json.dumps(SOUND[path]), headers={"Content-Type": content_type})
        assert_refused(response, content_type)
        assert response.status_code == 415
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post(path, content=json.dumps(SOUND[path]), headers=charset).status_code == 200


@pytest.mark.parametrize("header", [b"\xff", b"9" * 5000, b"-1", b"1e3", b"", "٣".encode()])
def test_odd_budget_headers_are_refused(client: httpx.Client, header: bytes) -> None:
    headers = {b"X-Refine-Budget": header}
    assert_refused(client.post("/v1/chat/completions", json=SOUND["/v1/chat/completions"], headers=headers), header)


def test_the_corpus_would_notice_a_traceback(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    with serving(scripted_pair(actor=lambda m, s: ZeroDivisionError("x"))) as url:
        httpx.post(f"{url}/v1/chat/completions", json=SOUND["/v1/chat/completions"])
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
