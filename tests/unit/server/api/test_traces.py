"""The endpoints of stored searches: who sees what, filters, feedback, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import httpx
import pytest

from spar_server.auth.keyring import new_secret, sha256_of
from spar_server.settings import ApiKey, Settings, TraceSettings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
NAMES: Final = ("team-a", "team-b", "auditor")


class Clients:
    """A client for each key, and the trace of one search of team-a and of two of team-b."""

    def __init__(self, url: str, secrets: Mapping[str, str]) -> None:
        self.url = url
        self._clients = {
            name: httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"})
            for name, secret in secrets.items()
        }
        self.a = self.ask("team-a", refine_budget=2)
        self.b = [self.ask("team-b", refine_budget=budget) for budget in (1, 3)]

    def ask(self, name: str, **body: Any) -> str:
        """The trace id of a stored search."""
        asked = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], **body}
        id: str = self.post(name, "/v1/chat/completions", **asked).headers["x-spar-trace-id"]
        assert self.get(name, f"/v1/traces/{id}").status_code == 200
        return id

    def get(self, name: str, path: str, **query: Any) -> httpx.Response:
        return self._clients[name].get(path, params=query)

    def post(self, name: str, path: str, **body: Any) -> httpx.Response:
        return self._clients[name].post(path, json=body)

    def listed(self, name: str, **query: Any) -> list[str]:
        response = self.get(name, "/v1/traces", **query)
        assert response.status_code == 200, response.text
        return [trace["id"] for trace in response.json()["data"]]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@pytest.fixture(scope="module")
def clients(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    secrets = {name: new_secret() for name in NAMES}
    keys = tuple(
        ApiKey(name=name, sha256=sha256_of(secret), read_traces="all" if name == "auditor" else "own")
        for name, secret in secrets.items()
    )
    path = tmp_path_factory.mktemp("traces") / "traces.sqlite"
    settings = Settings(keys=keys, traces=TraceSettings(record=1, path=path))
    with serving(scripted_pair(), settings) as url:
        clients = Clients(url, secrets)
        yield clients
        clients.close()


def test_a_key_sees_its_own_traces_newest_first(clients: Clients) -> None:
    assert clients.listed("team-a") == [clients.a]
    assert clients.listed("team-b") == clients.b[::-1]
    assert clients.listed("team-b", key="team-b") == clients.b[::-1]


def test_a_key_that_may_read_all_sees_all(clients: Clients) -> None:
    assert clients.listed("auditor") == [*clients.b[::-1], clients.a]
    assert clients.listed("auditor", key="team-a") == [clients.a]
    assert clients.get("auditor", f"/v1/traces/{clients.a}").json()["key"] == "team-a"


def test_the_trace_of_another_key_does_not_exist(clients: Clients) -> None:
    theirs = clients.get("team-a", f"/v1/traces/{clients.b[0]}")
    nobodys = clients.get("team-a", f"/v1/traces/{'f' * 32}")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["error"]["code"] == nobodys.json()["error"]["code"] == "trace_not_found"
    assert clients.post("team-a", f"/v1/traces/{clients.b[0]}/feedback", score=1).status_code == 404
    refused = clients.get("team-a", "/v1/traces", key="team-b")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "traces_not_allowed")


def test_a_cursor_leads_on_and_cannot_lead_to_the_traces_of_others(clients: Clients) -> None:
    page = clients.get("team-b", "/v1/traces", limit=1).json()
    assert page["has_more"]
    assert clients.listed("team-b", limit=1, cursor=page["next_cursor"]) == [clients.b[0]]
    assert clients.listed("team-a", cursor=page["next_cursor"]) == [clients.a]


def test_filters_and_whole_traces(clients: Clients) -> None:
    assert clients.listed("auditor", budget=3) == [clients.b[1]]
    assert clients.listed("auditor", improved="false") == []
    assert clients.listed("auditor", stop_reason="refined_accepted", limit=1) == [clients.b[1]]
    assert clients.listed("auditor", until="2020-01-01") == []
    assert clients.listed("auditor", since="2020-01-01T00:00:00Z", until=4_000_000_000, model="pair", limit=100)
    assert "trees" not in clients.get("auditor", "/v1/traces").json()["data"][0]
    whole = clients.get("auditor", "/v1/traces", detail="full").json()["data"]
    assert whole[-1] == clients.get("auditor", f"/v1/traces/{clients.a}").json()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"cursor": "bm90aGluZw=="}, "cursor"),
        ({"cursor": "x" * 300}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1e9"}, "limit"),
        ({"budget": str(2**70)}, "budget"),
        ({"budget": "-1"}, "budget"),
        ({"since": "yesterday"}, "since"),
        ({"until": "9" * 400}, "until"),
        ({"key": "a' OR 1=1 --"}, "key"),
        ({"model": "pair\x00"}, "model"),
        ({"stop_reason": "tired"}, "stop_reason"),
        ({"improved": "perhaps"}, "improved"),
        ({"detail": "all"}, "detail"),
        ({"modle": "pair"}, "modle"),
    ],
)
def test_a_wrong_filter_is_an_error_that_names_it(clients: Clients, query: dict[str, str], param: str) -> None:
    response = clients.get("auditor", "/v1/traces", **query)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


@pytest.mark.parametrize("id", ["%00", "..%2F..%2Fetc", "x" * 5000, "0" * 65, "é", "chatcmpl-", "a'--"])
def test_an_id_that_is_none_is_not_found(clients: Clients, id: str) -> None:
    response = clients.get("auditor", f"/v1/traces/{id}")
    assert response.status_code == 404
    assert len(response.content) < 1000


def test_the_id_of_a_response_names_its_trace(clients: Clients) -> None:
    assert clients.get("team-a", f"/v1/traces/chatcmpl-{clients.a}").json()["id"] == clients.a


def test_feedback_is_part_of_the_trace_and_can_be_changed(clients: Clients) -> None:
    path = f"/v1/traces/{clients.b[0]}"
    assert clients.post("team-b", f"{path}/feedback", score=-1, comment="no lamp").json()["score"] == -1
    given = clients.post("team-b", f"{path}/feedback", score=0.5).json()
    assert (given["object"], given["key"], given["comment"]) == ("trace.feedback", "team-b", "")
    assert clients.post("auditor", f"{path}/feedback", score=1).status_code == 200
    feedback = clients.get("team-b", path).json()["feedback"]
    assert [(each["key"], each["score"]) for each in feedback] == [("team-b", 0.5), ("auditor", 1.0)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "score"),
        ({"score": 2}, "score"),
        ({"score": "1"}, "score"),
        ({"score": 1, "comment": "x" * 4001}, "comment"),
        ({"score": 1, "comments": "x"}, "comments"),
    ],
)
def test_wrong_feedback_is_an_error_that_names_the_field(clients: Clients, body: dict[str, Any], param: str) -> None:
    response = clients.post("team-a", f"/v1/traces/{clients.a}/feedback", **body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


def test_without_a_key_there_is_nothing(clients: Clients) -> None:
    for path in ("/v1/traces", f"/v1/traces/{clients.a}"):
        assert httpx.get(f"{clients.url}{path}").status_code == 401


def test_a_public_server_without_keys_shows_no_traces(serving: Serving, tmp_path: Any) -> None:
    settings = Settings(host="0.0.0.0", auth="off", traces=TraceSettings(record=1, path=tmp_path / "traces.sqlite"))
    with serving(scripted_pair(), settings) as url:
        response = httpx.get(f"{url}/v1/traces")
        assert (response.status_code, response.json()["error"]["code"]) == (403, "traces_need_keys")
