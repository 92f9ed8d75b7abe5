"""Who is let in over HTTP, how much each may use, and what the others are told."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import refiner_script, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
SLOW_S = 600.0


def key(name: str, **bounds: Any) -> ApiKey:
    """A key whose secret is its name."""
    return ApiKey(name=name, sha256=sha256_of(name), **bounds)


def ask(client: httpx.Client, secret: str | None = None, **body: Any) -> httpx.Response:
    headers = body.pop("headers", {}) | ({"Authorization": f"Bearer {secret}"} if secret else {})
    return client.post("/v1/chat/completions", json={"model": "pair", "messages": HELLO} | body, headers=headers)


def slow_refiner(pair: ServedPair | None = None) -> ServedPair:
    """A pair whose drafts come at once and whose judgements do not come."""
    return replace(pair or scripted_pair(), refiner=ScriptedBackend(refiner_script, latency_s=SLOW_S))


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def left_waiting(url: str, secret: str = "", **body: Any) -> Iterator[None]:
    """A request whose client goes away when the context ends."""
    content = json.dumps({"model": "pair", "messages": HELLO} | body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
    head += f"Content-Length: {len(content)}\r\nContent-Type: application/json\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        client.sendall(head.encode() + content)
        yield


def metric(url: str, line: str) -> bool:
    return line in httpx.get(f"{url}/metrics").text


def set_up(**settings: Any) -> Settings:
    return Settings(**settings)


# Keys


@pytest.fixture(scope="module")
def keyed(serving: Serving) -> Iterator[httpx.Client]:
    keys = (
        key("plain"),
        key("small", refine_budget=1, max_refine_budget=2),
        key("big", max_refine_budget=1000),
        key("elsewhere", models=("other",)),
        key("slow", requests_per_minute=2),
    )
    with (
        serving(scripted_pair(), set_up(keys=keys, refine={"refine_budget": 3})) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "plain", "Basic plain", "Bearer plain x"])
def test_without_a_known_key_it_is_a_401(keyed: httpx.Client, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = ask(keyed, headers=headers)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_api_key"
    assert response.headers["x-request-id"]


def test_a_key_that_is_not_text_is_a_401(keyed: httpx.Client) -> None:
    assert ask(keyed, headers={"Authorization": b"Bearer \xff\xfe"}).status_code == 401


def test_an_unauthenticated_body_is_not_read(keyed: httpx.Client) -> None:
    assert keyed.post("/v1/chat/completions", content=b"{").status_code == 401
    assert keyed.get("/v1/models").status_code == 401
    assert keyed.get("/v1/nothing").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/metrics", "/docs", "/openapi.json"])
def test_operators_endpoints_need_no_key(keyed: httpx.Client, path: str) -> None:
    assert keyed.get(path).status_code == 200


def test_a_valid_key_is_accepted_in_any_case_of_its_scheme(keyed: httpx.Client) -> None:
    assert ask(keyed, "plain").status_code == 200
    assert ask(keyed, headers={"Authorization": "bearer plain"}).status_code == 200


@pytest.mark.parametrize(
    ("secret", "body", "budget"),
    [
        ("plain", {}, 3),
        ("small", {}, 1),
        ("small", {"reasoning_effort": "none"}, 0),
        # An effort is a wish: it is granted as far as the key goes.
        ("small", {"reasoning_effort": "high"}, 2),
        ("small", {"refine_budget": 2}, 2),
        ("big", {"refine_budget": 64}, 64),
    ],
)
def test_a_keys_own_default_comes_before_the_servers(
    keyed: httpx.Client, secret: str, body: dict[str, Any], budget: int
) -> None:
    assert ask(keyed, secret, **body).json()["usage"]["refinement"]["budget"] == budget


@pytest.mark.parametrize(("secret", "most"), [("small", 2), ("plain", 64), ("big", 64)])
def test_no_key_asks_for_more_than_its_limit_or_the_servers(keyed: httpx.Client, secret: str, most: int) -> None:
    error = ask(keyed, secret, refine_budget=most + 1).json()["error"]
    assert error["param"] == "refine_budget"
    assert f"limit of {most}" in error["message"]


def test_a_key_sees_and_uses_its_own_models_only(keyed: httpx.Client) -> None:
    response = ask(keyed, "elsewhere")
    assert response.status_code == 403
    assert response.json()["error"]["param"] == "model"
    headers = {"Authorization": "Bearer elsewhere"}
    assert keyed.get("/v1/models", headers=headers).json()["data"] == []
    assert keyed.get("/v1/models/pair", headers=headers).status_code == 403


def test_a_key_over_its_rate_gets_retry_after(keyed: httpx.Client) -> None:
    assert [ask(keyed, "slow").status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(keyed, "slow")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    # One every 30 s, of which hardly any time has passed.
    assert 20 <= int(refused.headers["Retry-After"]) <= 30
    assert ask(keyed, "plain").status_code == 200
    assert 'spar_refused_total{code="rate_limit_exceeded",key="slow"} 2.0' in keyed.get("/metrics").text


def test_a_key_over_its_concurrent_searches_is_refused_and_others_are_not(serving: Serving) -> None:
    settings = set_up(keys=(key("a", concurrent_searches=1), key("b")))
    pair = slow_refiner()
    assert isinstance(pair.refiner, ScriptedBackend)
    refiner = pair.refiner
    with serving(pair, settings) as url, httpx.Client(base_url=url) as client:
        with left_waiting(url, "a", refine_budget=2):
            wait_until(lambda: refiner.running > 0)
            refused = ask(client, "a", refine_budget=2)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert int(refused.headers["Retry-After"]) >= 1
            assert ask(client, "a").status_code == 200
            assert ask(client, "b", refine_budget=2, refine={"deadline_s": 2}).status_code == 200
        wait_until(lambda: refiner.running == 0)
        assert ask(client, "a", refine_budget=2, refine={"deadline_s": 2}).status_code == 200


# Sizes


@pytest.fixture(scope="module")
def narrow(serving: Serving) -> Iterator[httpx.Client]:
    settings = set_up(limits={"max_body_bytes": 2000, "max_messages": 3})
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        yield client


def body_of(size: int) -> bytes:
    start = b'{"model": "pair", "messages": [{"role": "user", "content": "'
    return start + b"x" * (size - len(start) - 4) + b'"}]}'


def in_pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("pieces", [False, True])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(narrow: httpx.Client, pieces: bool) -> None:
    def post(size: int) -> httpx.Response:
        body = body_of(size)
        headers = {"Content-Type": "application/json"}
        return narrow.post("/v1/chat/completions", content=in_pieces(body) if pieces else body, headers=headers)

    assert post(2000).status_code == 200
    for size in (2001, 300_000):
        response = post(size)
        assert response.status_code == 413
        assert "2000 bytes" in response.json()["error"]["message"]
    assert ask(narrow).status_code == 200


def test_too_many_messages_are_a_400(narrow: httpx.Client) -> None:
    assert ask(narrow, messages=HELLO * 3).status_code == 200
    response = ask(narrow, messages=HELLO * 4)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


# The queue


def test_searches_that_fill_the_server_do_not_hold_up_passed_through_requests(serving: Serving) -> None:
    settings = set_up(keys=(key("a"), key("b")), admission={"search_capacity": 390, "key_share": 1})
    with serving(slow_refiner(), settings) as url, httpx.Client(base_url=url) as client:
        with left_waiting(url, "a", refine_budget=64), left_waiting(url, "a", refine_budget=64):
            wait_until(lambda: metric(url, 'spar_queue_requests{kind="search"} 1.0'))
            assert metric(url, 'spar_admission_cost_running{kind="search"} 390.0')
            for stream in (False, True):
                assert ask(client, "b", stream=stream).status_code == 200
        wait_until(lambda: metric(url, 'spar_admission_cost_running{kind="search"} 0.0'))
        assert metric(url, 'spar_queue_requests{kind="search"} 0.0')


def test_a_full_queue_is_a_503_before_the_first_byte_and_a_disconnect_frees_a_place(serving: Serving) -> None:
    settings = set_up(admission={"search_capacity": 3, "max_queue": 1})
    with serving(slow_refiner(), settings) as url, httpx.Client(base_url=url) as client:
        with left_waiting(url, refine_budget=2):
            with left_waiting(url, refine_budget=2, stream=True):
                wait_until(lambda: metric(url, 'spar_queue_requests{kind="search"} 1.0'))
                for stream in (False, True):
                    response = ask(client, refine_budget=2, stream=stream)
                    assert response.status_code == 503
                    assert response.json()["error"]["code"] == "server_overloaded"
                    assert int(response.headers["Retry-After"]) >= 1
                    assert "x-should-retry" not in response.headers
            wait_until(lambda: metric(url, 'spar_queue_requests{kind="search"} 0.0'))
            with left_waiting(url, refine_budget=2):
                wait_until(lambda: metric(url, 'spar_queue_requests{kind="search"} 1.0'))
                assert metric(url, 'spar_queue_requests{kind="search"} 1.0')
        assert metric(url, 'spar_refused_total{code="server_overloaded",key="anonymous"} 2.0')


def test_the_wait_counts_against_the_deadline(serving: Serving) -> None:
    settings = set_up(admission={"search_capacity": 3})
    with serving(slow_refiner(), settings) as url, httpx.Client(base_url=url) as client, ThreadPoolExecutor() as pool:
        with left_waiting(url, refine_budget=2):
            wait_until(lambda: metric(url, 'spar_admission_cost_running{kind="search"} 3.0'))
            answer = pool.submit(ask, client, refine_budget=2, refine={"deadline_s": 4})
            wait_until(lambda: metric(url, 'spar_queue_requests{kind="search"} 1.0'))
            time.sleep(2)
        refinement = answer.result().json()["usage"]["refinement"]
    assert refinement["stop_reason"] == "deadline"
    # It had the two seconds that the wait left of its four, and what a busy machine adds.
    assert refinement["duration_ms"] < 3500


def test_a_request_over_its_maximum_wait_is_a_503(serving: Serving) -> None:
    settings = set_up(admission={"search_capacity": 3, "max_wait_s": 0.2})
    with (
        serving(slow_refiner(), settings) as url,
        httpx.Client(base_url=url) as client,
        left_waiting(url, refine_budget=2),
    ):
        wait_until(lambda: metric(url, 'spar_admission_cost_running{kind="search"} 3.0'))
        response = ask(client, refine_budget=2)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "server_overloaded")


async def _leave_after(url: str, seconds: float, **body: Any) -> None:
    content = json.dumps({"model": "pair", "messages": HELLO} | body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
    await asyncio.sleep(seconds)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def test_disconnecting_clients_lose_no_permits(serving: Serving) -> None:
    settings = set_up(admission={"search_capacity": 9, "pass_through_capacity": 3, "max_queue": 20})
    pair = scripted_pair(latency_s=0.01)

    async def crowd(url: str) -> None:
        """Some leave in the queue, some in the middle, some at the very moment of their turn or their first frame."""
        kinds = [{"stream": stream, "refine_budget": budget} for stream in (False, True) for budget in (0, 2)]
        await asyncio.gather(
            *(_leave_after(url, number % 25 * 0.004, **kinds[number % 4]) for number in range(300))  # type: ignore[arg-type]
        )

    with serving(pair, settings) as url, httpx.Client(base_url=url) as client:
        asyncio.run(crowd(url))
        for line in ("spar_admission_cost_running", "spar_queue_requests"):
            for kind in ("search", "pass_through"):
                empty = f'{line}{{kind="{kind}"}} 0.0'
                wait_until(partial(metric, url, empty))
                assert metric(url, empty)
        for backend in (pair.actor, pair.refiner):
            assert isinstance(backend, ScriptedBackend)
            assert backend.running == 0
        assert ask(client, refine_budget=2).status_code == 200


# Time


@pytest.mark.parametrize("headers", [{"x-stainless-read-timeout": "0.3"}, {"X-Stainless-Timeout": "1"}])
def test_a_client_with_a_timeout_gets_the_best_answer_in_time(serving: Serving, headers: dict[str, str]) -> None:
    """Clients for Python send the first, those for Node.js the second, in whole seconds."""
    with serving(slow_refiner()) as url, httpx.Client(base_url=url) as client:
        response = ask(client, refine_budget=2, headers=headers)
    assert response.json()["usage"]["refinement"]["stop_reason"] == "deadline"


@pytest.mark.parametrize("hint", ["", "soon", "nan", "-1", "0", "inf", "1e999"])
def test_an_invalid_read_timeout_is_ignored(serving: Serving, hint: str) -> None:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        response = ask(client, refine_budget=2, headers={"x-stainless-read-timeout": hint})
    assert response.json()["usage"]["refinement"]["stop_reason"] == "refined_accepted"


# Brown-out


def test_under_load_budgets_shrink_and_answers_are_degraded_until_the_load_is_gone(serving: Serving) -> None:
    brownout = {"enabled": True, "above": 0.5, "below": 0.25, "step_s": 0.05}
    settings = set_up(brownout=brownout, admission={"search_capacity": 9})
    pair = slow_refiner(scripted_pair(actor=always("a plain draft")))
    with serving(pair, settings) as url, httpx.Client(base_url=url) as client:
        with left_waiting(url, refine_budget=8):
            wait_until(lambda: metric(url, "spar_brownout_level 3.0"))
            refinement = ask(client, refine_budget=8).json()["usage"]["refinement"]
            assert (refinement["budget"], refinement["degraded"]) == (0, True)
            assert refinement["stop_reason"] == "pass_through"
            untouched = ask(client).json()["usage"]["refinement"]
            assert (untouched["budget"], untouched["degraded"]) == (0, False)
        wait_until(lambda: metric(url, "spar_brownout_level 0.0"))
        refinement = ask(client, refine_budget=8, refine={"deadline_s": 2}).json()["usage"]["refinement"]
        assert (refinement["budget"], refinement["degraded"]) == (8, False)
