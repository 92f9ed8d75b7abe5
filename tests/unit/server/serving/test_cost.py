"""Prices of the settings: what a request reports, what bounds it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.cost import Price
from spar_core.errors import ConfigError
from spar_core.types import Message, Sampling
from spar_server.app import create_app
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair, build_pair
from spar_server.settings import Settings
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
ACTOR, REFINER = Price(prompt=1.0, completion=10.0), Price(prompt=2.0, completion=20.0)
BOUND = sha256_of("bound")


def priced(pair: ServedPair | None = None) -> ServedPair:
    return replace(pair or scripted_pair(), prices={"actor": ACTOR, "refiner": REFINER, "judge": REFINER})


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(priced()) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": "pair", "messages": HELLO} | body, headers=headers)


def refinement(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["usage"]["refinement"]
    return found


def test_usage_has_the_cost_of_each_role_and_their_total(client: httpx.Client) -> None:
    spent = refinement(ask(client, refine_budget=2))
    expected = {
        role: (spent["tokens"][role]["prompt"] * price.prompt + spent["tokens"][role]["completion"] * price.completion)
        / 1e6
        for role, price in (("actor", ACTOR), ("refiner", REFINER), ("judge", REFINER))
    }
    assert spent["cost"] == pytest.approx({**expected, "total": sum(expected.values())})
    assert 0 < expected["actor"] < spent["cost"]["total"]


def test_a_role_without_calls_costs_nothing(client: httpx.Client) -> None:
    cost = refinement(ask(client))["cost"]
    assert (cost["refiner"], cost["judge"], cost["total"]) == (0.0, 0.0, cost["actor"])


def test_the_cost_of_a_model_without_a_price_is_null(serving: Serving) -> None:
    with serving(replace(priced(), prices={"actor": ACTOR})) as url, httpx.Client(base_url=url) as client:
        cost = refinement(ask(client, refine_budget=2))["cost"]
    assert cost["actor"] > 0
    assert (cost["judge"], cost["total"]) == (None, None)


def test_without_prices_there_is_no_cost(serving: Serving) -> None:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        assert refinement(ask(client, refine_budget=2))["cost"] is None
        refused = ask(client, refine={"max_cost": 1.0})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "refine.max_cost")


def test_the_metric_counts_what_the_roles_cost(serving: Serving) -> None:
    with serving(priced()) as url, httpx.Client(base_url=url) as client:
        cost = refinement(ask(client, refine_budget=2))["cost"]
        lines = dict(
            line.rsplit(" ", 1)
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("spar_cost_total")
        )
    assert {role: float(lines[f'spar_cost_total{{role="{role}"}}']) for role in ("actor", "refiner", "judge")} == (
        pytest.approx({role: cost[role] for role in ("actor", "refiner", "judge")})
    )


def insatiable(messages: Sequence[Message], sampling: Sampling) -> str:
    """A refiner that accepts nothing, and refines everything to something else."""
    if messages[-1].text == "Refine the response.":
        return f"[[start]]\n{'again ' * 40}{sampling.seed}\n[[end]]"
    return "1. be better -> no\nFinal Judgement: No"


@pytest.mark.parametrize("limit", [0.0035, 0.005, 0.02])
def test_no_search_costs_more_than_its_bound(serving: Serving, limit: float) -> None:
    with serving(priced(scripted_pair(refiner=insatiable))) as url, httpx.Client(base_url=url) as client:
        spent = refinement(ask(client, refine_budget=64, refine={"max_cost": limit}))
    assert spent["cost"]["total"] <= limit
    assert spent["stop_reason"] == "cost"


def test_a_bound_shortens_an_answer_that_is_passed_through(serving: Serving) -> None:
    pair = priced(scripted_pair(actor=always("word " * 1000)))
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        for stream in (False, True):
            ask(client, stream=stream, refine={"max_cost": 0.0005})
            assert isinstance(pair.actor, ScriptedBackend)
            tokens = pair.actor.calls[-1][1].max_tokens
            assert tokens is not None
            assert 8 <= tokens <= 50


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"refine": {"max_cost": 0.0001}}, "refine.max_cost", "give at least"),
        ({"refine": {"max_cost": 0.001}, "n": 16}, "refine.max_cost", "16 drafts"),
        ({"refine": {"max_cost": 0}}, "refine.max_cost", "greater than 0"),
        (
            {"refine": {"max_cost": 1}, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
            "text only",
        ),
    ],
)
def test_a_bound_that_cannot_be_kept_is_refused(
    client: httpx.Client, body: dict[str, Any], param: str, says: str
) -> None:
    response = ask(client, **body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert says in response.json()["error"]["message"]


def test_a_keys_bound_holds_for_all_its_requests(serving: Serving) -> None:
    pair = priced(scripted_pair(actor=always("word " * 1000)))
    raw = replace(pair, actor=RawScripted(always("word " * 1000)))
    settings = Settings(keys=[{"name": "bound", "sha256": BOUND, "max_cost": 0.0005}])  # type: ignore[list-item]
    with serving(raw, settings) as url, httpx.Client(base_url=url) as client:
        client.headers["Authorization"] = "Bearer bound"
        assert refinement(ask(client, refine={"max_cost": 1.0}))["cost"]["total"] <= 0.0005
        for body, status in (
            ({"max_tokens": 40}, 200),
            ({"max_tokens": 400}, 400),
            ({}, 400),
            ({"n": 9, "max_tokens": 9}, 400),
        ):
            response = client.post("/v1/completions", json={"model": "pair", "prompt": "Hi"} | body)
            assert response.status_code == status, response.text


def test_a_bound_without_prices_is_refused_at_start() -> None:
    settings = Settings(keys=[{"name": "bound", "sha256": BOUND, "max_cost": 0.5}])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="keys: bound: max_cost needs a price for the model scripted"):
        create_app(settings, scripted_pair())


def test_prices_are_by_the_models_own_names() -> None:
    def pair(**prices: Any) -> ServedPair:
        actor = {"url": "http://127.0.0.1:1/v1", "model": "my-actor"}
        return build_pair(Settings(actor=actor, prices=prices))  # type: ignore[arg-type]

    price = {"prompt": 1, "completion": 2}
    assert set(pair(**{"my-actor": price}).prices) == {"actor", "refiner", "judge"}
    with pytest.raises(ConfigError, match=r"prices\.my-acter: .*; did you mean my-actor"):
        pair(**{"my-acter": price})
