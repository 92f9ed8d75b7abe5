"""Which searches are stored, and what the API says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_server.auth.keyring import new_secret, sha256_of
from spar_server.settings import ApiKey, Settings, TraceSettings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]


def settings(folder: Path, **traces: Any) -> Settings:
    return Settings(traces=TraceSettings(**{"record": "on", "path": folder / "traces.sqlite", **traces}))


@pytest.fixture(scope="module")
def client(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        serving(scripted_pair(), settings(tmp_path_factory.mktemp("traces"))) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def ask(client: httpx.Client, key: str | None = None, path: str = "/v1/chat/completions", **body: Any) -> str:
    """Ask something; the trace id of the answer."""
    asked = {"model": "pair", "messages": HELLO, "refine_budget": 2, **body}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = client.post(path, json=asked, headers=headers)
    assert response.status_code == 200, response.text
    return response.headers["x-spar-trace-id"]


def stored(client: httpx.Client, id: str, key: str | None = None) -> Any:
    """A trace, or None if it is not stored."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = client.get(f"/v1/traces/{id}", headers=headers)
    assert response.status_code in (200, 404), response.text
    return response.json() if response.status_code == 200 else None


def test_a_search_is_stored_with_its_request_and_its_tree(client: httpx.Client) -> None:
    asked = {"model": "pair", "messages": HELLO, "refine_budget": 2, "seed": 7, "refine": {"trace": "full"}}
    answer = client.post("/v1/chat/completions", json=asked).json()
    trace = stored(client, answer["spar"]["trace_id"])
    assert trace["trees"] == [answer["spar"]["tree"]]
    assert trace["messages"] == HELLO
    assert trace["usage"] == answer["usage"]
    assert (trace["search"]["budget"], trace["search"]["seed"], trace["sampling"]["seed"]) == (2, 7, 7)
    summary = {name: answer["usage"]["refinement"][name] for name in ("nodes", "stop_reason", "value", "draft_value")}
    assert {name: trace[name] for name in summary} == summary
    assert (trace["key"], trace["model"], trace["improved"], trace["feedback"]) == ("anonymous", "pair", True, [])


def test_a_seed_of_any_size_is_stored(client: httpx.Client) -> None:
    assert stored(client, ask(client, seed=2**70))["sampling"]["seed"] == 2**70


def test_the_complete_reply_of_the_refiner_is_kept_for_the_answer(client: httpx.Client) -> None:
    (notes,) = stored(client, ask(client))["notes"]
    assert (notes["reply"], notes["drafts"]) == ("[[start]]\nbetter answer\n[[end]]", [])


def test_each_model_call_is_stored_with_its_times_and_what_it_was_sent(client: httpx.Client) -> None:
    trace = stored(client, ask(client))
    (notes,) = trace["notes"]
    first = [(call["role"], call["path"], call["count"], call["outcome"]) for call in notes["calls"][:3]]
    assert first == [("actor", [], 1, "finished"), ("judge", [], 3, "finished"), ("refiner", [0], 1, "finished")]
    assert all(0 <= call["started_ms"] <= call["ended_ms"] <= trace["duration_ms"] for call in notes["calls"])
    # The actor's prompt is the conversation; the refiner continues the judge's.
    actor, judge, refiner = notes["calls"][:3]
    assert "prompt" not in actor
    assert refiner["prompt"][:1] == judge["prompt"]
    assert "a plain draft" in notes["prompts"][judge["prompt"][0]]["content"]
    assert notes["prompts"][refiner["prompt"][-1]] == {"role": "user", "content": "Refine the response."}


def test_a_setting_keeps_prompts_out_of_traces(serving: Serving, tmp_path: Path) -> None:
    with serving(scripted_pair(), settings(tmp_path, prompts=False)) as url, httpx.Client(base_url=url) as client:
        (notes,) = stored(client, ask(client))["notes"]
    assert notes["calls"]
    assert "prompts" not in notes
    assert not any("prompt" in call for call in notes["calls"])


def test_streams_refinements_and_responses_are_stored_too(client: httpx.Client) -> None:
    assert stored(client, ask(client, stream=True))["improved"]
    assert stored(client, ask(client, path="/v1/refine", response="my answer"))["initial"]["response"] == "my answer"
    response = client.post("/v1/responses", json={"model": "pair", "input": "Hi there", "refine_budget": 2}).json()
    assert stored(client, response["id"])["improved"]


def test_several_answers_are_one_trace_with_a_tree_each(client: httpx.Client) -> None:
    trace = stored(client, ask(client, n=2))
    assert (trace["n"], len(trace["trees"]), len(trace["notes"])) == (2, 2, 2)


def test_an_answer_that_is_passed_through_is_no_search(client: httpx.Client) -> None:
    assert stored(client, ask(client, refine_budget=0)) is None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/refine"])
def test_store_false_is_obeyed(client: httpx.Client, path: str) -> None:
    body = {"response": "my answer"} if path == "/v1/refine" else {}
    assert stored(client, ask(client, path=path, store=False, **body)) is None
    assert stored(client, ask(client, path=path, store=True, **body)) is not None


def test_store_false_is_obeyed_in_responses(client: httpx.Client) -> None:
    body = {"model": "pair", "input": "Hi there", "refine_budget": 2, "store": False}
    assert stored(client, client.post("/v1/responses", json=body).json()["id"]) is None


def test_nothing_is_stored_by_default(serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        response = client.get(f"/v1/traces/{ask(client)}")
        assert response.json()["error"]["code"] == "traces_off"
        assert client.get("/health").json() == {"status": "ok"}
    assert not list(tmp_path.iterdir())


def test_a_share_of_the_searches_is_stored(serving: Serving, tmp_path: Path) -> None:
    with serving(scripted_pair(), settings(tmp_path, record=0.5)) as url, httpx.Client(base_url=url) as client:
        kept = [stored(client, ask(client)) is not None for _ in range(40)]
    # All or nothing has a probability of 1 in 2**39.
    assert 0 < sum(kept) < 40


def test_a_key_can_be_recorded_on_its_own(serving: Serving, tmp_path: Path) -> None:
    secrets = {name: new_secret() for name in ("on", "off")}
    keys = (
        ApiKey(name="on", sha256=sha256_of(secrets["on"]), traces="on"),  # type: ignore[arg-type]
        ApiKey(name="off", sha256=sha256_of(secrets["off"])),
    )
    own = settings(tmp_path, record="off").model_copy(update={"keys": keys})
    with serving(scripted_pair(), own) as url, httpx.Client(base_url=url) as client:
        assert stored(client, ask(client, secrets["on"]), secrets["on"])["key"] == "on"
        assert stored(client, ask(client, secrets["off"]), secrets["off"]) is None


def test_a_search_without_a_seed_is_stored_with_the_seed_that_reproduces_it(client: httpx.Client) -> None:
    first = stored(client, ask(client))
    assert first["sampling"]["seed"] is None
    again = stored(client, ask(client, seed=first["search"]["seed"]))
    assert again["trees"] == first["trees"]
