"""GET /v1/algorithms: the search algorithms that requests can name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]


def test_the_built_in_algorithms_come_first_then_those_of_packages(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "acme_search-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-search\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[spar.strategies]\nacme_search = acme_search:search\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with serving(scripted_pair()) as url:
        body = httpx.get(f"{url}/v1/algorithms").json()
    assert body["object"] == "list"
    assert [algorithm["id"] for algorithm in body["data"]] == [
        "bfs",
        "dfs",
        "best_first",
        "iterative",
        "best_of_n",
        "acme_search",
    ]


def test_each_of_them_can_be_requested(serving: Serving) -> None:
    with serving(scripted_pair()) as url:
        for algorithm in httpx.get(f"{url}/v1/algorithms").json()["data"]:
            body = {
                "model": "pair",
                "messages": [{"role": "user", "content": "hello"}],
                "refine_budget": 1,
                "refine": {"algorithm": algorithm["id"]},
            }
            answer = httpx.post(f"{url}/v1/chat/completions", json=body).json()
            assert answer["usage"]["refinement"]["algorithm"] == algorithm["id"]


def test_the_list_needs_a_key_where_there_are_keys(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(keys=(ApiKey(name="a", sha256=sha256_of("secret")),))) as url:
        assert httpx.get(f"{url}/v1/algorithms").status_code == 401
        assert httpx.get(f"{url}/v1/algorithms", headers={"Authorization": "Bearer secret"}).status_code == 200
