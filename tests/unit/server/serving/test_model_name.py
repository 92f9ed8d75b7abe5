"""Aliases: compute as a model name, on every endpoint, for the keys that may use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_core.errors import ConfigError
from spar_server.app import create_app
from spar_server.auth.keyring import sha256_of
from spar_server.schemas import RefineOptions
from spar_server.settings import ModelAlias, Settings, load_settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
MODELS: dict[str, Any] = {
    "spar-pro": {"refine_budget": 16, "votes": 7, "algorithm": "dfs", "description": "More compute"},
    "spar-fixed": {"refine_budget": 2, "votes": 3, "locked": True},
}
KEYS: list[dict[str, Any]] = [
    {"name": "all", "sha256": sha256_of("all")},
    {"name": "pro", "sha256": sha256_of("pro"), "models": ["spar-pro"], "refine_budget": 1},
    {"name": "small", "sha256": sha256_of("small"), "max_refine_budget": 4, "max_votes": 5},
]


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    settings = Settings(models=MODELS, keys=KEYS)  # type: ignore[arg-type]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url, headers=bearer("all")) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def ask(client: httpx.Client, model: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    chat = {"model": model, "messages": HELLO}
    return client.post("/v1/chat/completions", json=chat | body, headers=headers)


def refinement(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["usage"]["refinement"]
    return found


def test_an_alias_is_the_pair_with_other_defaults(client: httpx.Client) -> None:
    response = ask(client, "spar-pro", refine={"early_vote_stop": False})
    assert response.json()["model"] == "spar-pro"
    spent = refinement(response)
    assert (spent["budget"], spent["algorithm"], spent["calls"]["judge"]) == (16, "dfs", 14)
    assert refinement(ask(client, "pair"))["budget"] == 0


@pytest.mark.parametrize(
    ("model", "headers", "body", "budget"),
    [
        ("spar-pro", {}, {"refine_budget": 3}, 3),
        ("spar-pro", {"X-Refine-Budget": "4"}, {}, 4),
        ("spar-pro@5", {}, {}, 5),
        ("spar-pro", {}, {"reasoning_effort": "low"}, 2),
        ("spar-fixed", {}, {"reasoning_effort": "high"}, 2),
    ],
)
def test_what_a_request_names_itself_wins(
    client: httpx.Client, model: str, headers: dict[str, str], body: dict[str, Any], budget: int
) -> None:
    assert refinement(ask(client, model, headers, **body))["budget"] == budget
    assert refinement(ask(client, "spar-pro", refine={"algorithm": "bfs"}))["algorithm"] == "bfs"


@pytest.mark.parametrize(
    ("model", "headers", "body", "param"),
    [
        ("spar-fixed", {}, {"refine_budget": 3}, "refine_budget"),
        ("spar-fixed", {"X-Refine-Budget": "4"}, {}, "X-Refine-Budget"),
        ("spar-fixed@5", {}, {}, "model"),
        ("spar-fixed", {}, {"refine": {"votes": 5}}, "refine.votes"),
    ],
)
def test_a_locked_alias_refuses_what_it_sets(
    client: httpx.Client, model: str, headers: dict[str, str], body: dict[str, Any], param: str
) -> None:
    response = ask(client, model, headers, **body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert "'spar-fixed' sets it; remove it" in response.json()["error"]["message"]
    assert refinement(ask(client, "spar-fixed", refine={"branch": 2}))["budget"] == 2


def test_the_keys_limits_bound_an_alias(client: httpx.Client) -> None:
    spent = refinement(ask(client, "spar-pro", bearer("small"), refine={"early_vote_stop": False}))
    assert (spent["budget"], spent["calls"]["judge"]) == (4, 10)


def test_a_keys_list_of_models_knows_aliases(client: httpx.Client) -> None:
    assert refinement(ask(client, "spar-pro", bearer("pro")))["budget"] == 16
    refused = ask(client, "pair", bearer("pro"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert ask(client, "spar-fixed", bearer("pro")).status_code == 403


def test_the_list_of_models_has_the_aliases_that_the_key_may_use(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["pair", "spar-pro", "spar-fixed"]
    only = client.get("/v1/models", headers=bearer("pro")).json()["data"]
    assert [(model["id"], model["root"], model["description"]) for model in only] == [
        ("spar-pro", "pair", "More compute")
    ]
    assert client.get("/v1/models/spar-pro").json() == listed[1]
    assert client.get("/v1/models/spar-pro@8").json()["id"] == "spar-pro@8"
    assert client.get("/v1/models/spar-fixed@8").status_code == 404
    assert client.get("/v1/models/pair", headers=bearer("pro")).status_code == 403


def test_every_endpoint_takes_them(client: httpx.Client) -> None:
    responses = client.post("/v1/responses", json={"model": "spar-pro", "input": "Hi"}).json()
    assert responses["usage"]["refinement"]["budget"] == 16
    body = {"model": "spar-pro", "messages": HELLO, "response": "my answer"}
    assert refinement(client.post("/v1/refine", json=body))["budget"] == 16
    judged = client.post("/v1/judge", json=body | {"early_vote_stop": False}).json()
    assert (judged["model"], len(judged["votes"])) == ("spar-pro", 7)
    fixed = client.post("/v1/judge", json=body | {"model": "spar-fixed", "votes": 9})
    assert (fixed.status_code, fixed.json()["error"]["param"]) == (400, "votes")
    # The scripted actor completes no raw prompts, which is said once the name is accepted.
    raw = client.post("/v1/completions", json={"model": "spar-pro", "prompt": "Hi"})
    assert raw.json()["error"]["code"] == "not_supported"


def test_an_unknown_model_is_a_404_that_lists_the_names(client: httpx.Client) -> None:
    response = ask(client, "spar-prof")
    assert response.status_code == 404
    assert "'pair', 'spar-pro', 'spar-fixed'" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("refine_buget = 4", "models.spar-pro.refine_buget: there is no such setting; did you mean refine_budget?"),
        ('algorithm = "astar"', "models.spar-pro.algorithm: .*'bfs'"),
        ("refine_budget = 65", "models.spar-pro.refine_budget is 65, over this server's limit of 64"),
        ("deadline_s = 900", "models.spar-pro.deadline_s is 900, over this server's limit of 280"),
    ],
)
def test_a_wrong_alias_is_refused_at_start(tmp_path: Path, table: str, says: str) -> None:
    file = tmp_path / "spar.toml"
    file.write_text(f'[models."spar-pro"]\n{table}\n')
    with pytest.raises(ConfigError, match=says):
        load_settings({}, file)


@pytest.mark.parametrize(("name", "says"), [("pair", "the pair's own name"), ("pro@8", "leave out @")])
def test_an_alias_hides_no_other_name(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        create_app(Settings(models={name: ModelAlias()}), scripted_pair())


def test_an_alias_sets_only_what_a_request_can_set() -> None:
    known = {*RefineOptions.model_fields, "description", "refine_budget", "locked"}
    assert set(ModelAlias.model_fields) <= known
