"""The endpoints besides chat pass the same gate: keys, limits and deadlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair
from spar_server.settings import ApiKey, Settings
from tests.support.malformed import SOUND
from tests.support.pairs import RawScripted, refiner_script, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
OTHERS = [path for path in SOUND if path != "/v1/chat/completions"]
STREAMED = ("/v1/responses", "/v1/refine", "/v1/completions")


def key(name: str, **bounds: Any) -> ApiKey:
    """A key whose secret is its name."""
    return ApiKey(name=name, sha256=sha256_of(name), **bounds)


def pair(latency_s: float = 0.0) -> ServedPair:
    actor = RawScripted(always("a plain draft"), latency_s=latency_s)
    return replace(scripted_pair(), actor=actor, refiner=ScriptedBackend(refiner_script, latency_s=latency_s))


@pytest.fixture(scope="module")
def keyed(serving: Serving) -> Iterator[httpx.Client]:
    keys = (key("plain"), key("elsewhere", models=("other",)), key("small", max_refine_budget=2))
    settings = Settings(keys=keys, limits={"max_messages": 3})  # type: ignore[arg-type]
    with serving(pair(), settings) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, path: str, secret: str | None, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return client.post(path, json=SOUND[path] | body, headers=headers)


@pytest.mark.parametrize("path", OTHERS)
def test_a_key_is_needed_and_must_be_for_the_model(keyed: httpx.Client, path: str) -> None:
    assert ask(keyed, path, None).status_code == 401
    assert ask(keyed, path, "elsewhere").status_code == 403
    assert ask(keyed, path, "plain").status_code == 200


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/refine"])
def test_a_keys_largest_budget_holds(keyed: httpx.Client, path: str) -> None:
    assert ask(keyed, path, "small", refine_budget=2).status_code == 200
    for asked in ({"refine_budget": 3}, {"model": "pair@3"}):
        refused = ask(keyed, path, "small", **asked)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(asked)))


def test_an_alias_exists_for_keys_that_can_use_it(keyed: httpx.Client) -> None:
    for secret, status in (("small", 404), ("plain", 200), ("elsewhere", 403)):
        headers = {"Authorization": f"Bearer {secret}"}
        assert keyed.get("/v1/models/pair@3", headers=headers).status_code == status


def test_the_number_of_messages_is_limited(keyed: httpx.Client) -> None:
    turns = [{"role": "user", "content": "Hi"}] * 4
    for path, field in (("/v1/responses", "input"), ("/v1/judge", "messages"), ("/v1/refine", "messages")):
        response = ask(keyed, path, "plain", **{field: turns})
        assert response.status_code == 400
        assert "limit of 3" in response.json()["error"]["message"]


def test_an_answer_comes_before_its_client_gives_up(serving: Serving) -> None:
    with serving(pair(latency_s=30)) as url, httpx.Client(base_url=url) as client:
        for path in OTHERS:
            response = client.post(path, json=SOUND[path], headers={"x-stainless-read-timeout": "0.3"})
            # A given answer is its own best so far.
            assert response.status_code == (200 if path == "/v1/refine" else 504), path


@pytest.mark.parametrize("path", STREAMED)
def test_what_passes_is_counted(keyed: httpx.Client, path: str) -> None:
    assert ask(keyed, path, "plain", stream=True).status_code == 200
    assert 'key="plain"' in keyed.get("/metrics").text
