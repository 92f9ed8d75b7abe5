"""Errors mirror the server's, and what fails for a moment is sent again as OpenAI's SDKs do."""

from __future__ import annotations

import json
import socket

import pytest

import spar_client
from spar_client import APIConnectionError, APIProtocolError, APIStatusError, APITimeoutError, AsyncClient, Client
from spar_client.retries import wait_s
from tests.support.canned_server import Canned, canned

MODELS = Canned(b'{"data": [{"id": "m", "created": 1, "owned_by": "spar-server"}]}')
SOON = {"Retry-After": "0.01"}


def busy(status: int = 503, **headers: str) -> Canned:
    body = {"error": {"message": "full", "type": "overloaded_error", "param": None, "code": "overloaded"}}
    return Canned(json.dumps(body).encode(), status, SOON | {name.replace("_", "-"): v for name, v in headers.items()})


def test_a_wrong_field_is_named(client: Client) -> None:
    with pytest.raises(spar_client.BadRequestError, match=r"refine\.brunch: unknown key") as caught:
        client.chat("Hi", refine={"brunch": 1})  # type: ignore[typeddict-unknown-key]
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "refine.brunch", "invalid_value")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("question", "options", "kind"),
    [
        ("Hi", {"model": "other"}, spar_client.NotFoundError),
        ("busy", {}, spar_client.RateLimitError),
        ("broken", {}, spar_client.UpstreamError),
        ("refuse", {}, spar_client.BadRequestError),
        ("too long", {}, spar_client.BadRequestError),
    ],
)
def test_an_error_has_the_kind_of_its_status(
    client: Client, question: str, options: spar_client.ChatOptions, kind: type[APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        client.chat(question, **options)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, spar_client.AuthenticationError),
        (403, spar_client.PermissionDeniedError),
        (405, APIStatusError),
        (413, spar_client.RequestTooLargeError),
        (415, spar_client.BadRequestError),
        (500, spar_client.InternalServerError),
        (503, spar_client.OverloadedError),
        (504, spar_client.DeadlineError),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[APIStatusError]) -> None:
    with canned(busy(status)) as server, Client(server.url, max_retries=0) as client:
        with pytest.raises(kind) as caught:
            client.models()
        assert (type(caught.value), caught.value.status, caught.value.message) == (kind, status, "full")


def test_what_is_no_error_of_a_spar_server_is_quoted() -> None:
    with (
        canned(Canned(b"<h1>Bad gateway</h1>", 502)) as server,
        Client(server.url, max_retries=0) as client,
        pytest.raises(spar_client.UpstreamError, match="<h1>Bad gateway</h1>"),
    ):
        client.models()


@pytest.mark.parametrize("body", [b"<h1>Welcome</h1>", b"[]", b'{"data": [{}]}'])
def test_an_answer_of_another_server_is_a_protocol_error(body: bytes) -> None:
    with (
        canned(Canned(body)) as server,
        Client(server.url) as client,
        pytest.raises(APIProtocolError, match="did not answer as a SPaR Server does"),
    ):
        client.models()


def test_no_server_is_a_connection_error_that_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        Client(f"http://user:secret@127.0.0.1:{port}", max_retries=0) as client,
        pytest.raises(APIConnectionError, match="start one with `spar serve`") as caught,
    ):
        client.models()
    assert "secret" not in str(caught.value)


def test_a_momentary_failure_is_tried_again_until_it_works() -> None:
    with canned(busy(), Canned(status=None), busy(429), MODELS) as server, Client(server.url, max_retries=3) as client:
        assert [model.id for model in client.models()] == ["m"]
        assert len(server.requests) == 4


def test_the_last_failure_is_raised_after_two_more_attempts() -> None:
    with canned(busy()) as server, Client(server.url) as client:
        with pytest.raises(spar_client.OverloadedError):
            client.models()
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [
        (busy(400), 1),
        (busy(401), 1),
        (busy(408), 3),
        (busy(409), 3),
        (busy(504, x_should_retry="false"), 1),
        (busy(400, x_should_retry="true"), 3),
    ],
)
def test_only_what_may_pass_is_tried_again(answer: Canned, attempts: int) -> None:
    with canned(answer) as server, Client(server.url) as client:
        with pytest.raises(APIStatusError):
            client.models()
        assert len(server.requests) == attempts


async def test_the_asynchronous_client_tries_again_too() -> None:
    with canned(busy(), MODELS) as server:
        async with AsyncClient(server.url) as client:
            assert await client.models()


def test_a_server_that_does_not_answer_is_a_timeout() -> None:
    with (
        canned(Canned(hangs=True)) as server,
        Client(server.url, timeout=0.2, max_retries=0) as client,
        pytest.raises(APITimeoutError, match="within the time-out"),
    ):
        client.models()


def test_the_server_learns_how_long_the_client_waits() -> None:
    with canned(Canned(b"{}", 400)) as server, Client(server.url, timeout=30, model="m") as client:
        with pytest.raises(spar_client.BadRequestError):
            client.models()
        with pytest.raises(spar_client.BadRequestError):
            client.chat("Hi", timeout=5)
        assert [request["x-stainless-read-timeout"] for request in server.requests] == ["30", "5"]


def test_the_wait_is_the_servers_or_doubles() -> None:
    assert wait_s(0, 3.0) == 3.0
    for attempt, longest in enumerate([0.5, 1, 2, 4, 8, 8]):
        assert 0.75 * longest <= wait_s(attempt, None) <= longest
    # Nobody waits an hour for one answer.
    assert wait_s(0, 3600.0) <= 0.5
