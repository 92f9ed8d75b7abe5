"""GET /v1/checks: the checks that requests can name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.checks.registry import BUILT_IN_IDS, build_check
from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def listed(serving: Serving) -> list[dict[str, Any]]:
    with serving(scripted_pair()) as url:
        body = httpx.get(f"{url}/v1/checks").json()
    assert body["object"] == "list"
    return list(body["data"])


def test_every_built_in_check_is_listed_with_kwargs_that_work(listed: list[dict[str, Any]]) -> None:
    assert {check["id"] for check in listed} == set(BUILT_IN_IDS)
    for check in listed:
        assert set(check["example"]) == set(check["kwargs"]), check["id"]
        assert build_check(check["id"], check["example"]).requirement() == check["requirement"]


def test_kwargs_are_described_as_json_schema(listed: list[dict[str, Any]]) -> None:
    kwargs = {check["id"]: check["kwargs"] for check in listed}
    sentences = kwargs["length_constraints:number_sentences"]
    assert sentences["num_sentences"] == {"type": "integer", "minimum": 0, "examples": [2, 3]}
    assert sentences["relation"]["enum"] == ["at least", "less than"]
    assert "de" in kwargs["language:response_language"]["language"]["enum"]
    assert kwargs["punctuation:no_comma"] == {}


def test_the_list_needs_a_key_where_there_are_keys(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(keys=(ApiKey(name="a", sha256=sha256_of("secret")),))) as url:
        assert httpx.get(f"{url}/v1/checks").status_code == 401
        assert httpx.get(f"{url}/v1/checks", headers={"Authorization": "Bearer secret"}).status_code == 200
