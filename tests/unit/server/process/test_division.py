"""What each of several workers may use: together never more than the settings allow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar_core.errors import ConfigError
from spar_server.auth.keyring import sha256_of
from spar_server.process.configuration import Source
from spar_server.process.division import Share

ACTOR = {"url": "http://one/v1", "model": "m"}


@given(total=st.integers(0, 10_000), count=st.integers(1, 64))
def test_the_parts_add_up_and_differ_by_at_most_one(total: int, count: int) -> None:
    parts = [Share(index, count).of(total) for index in range(count)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_capacities_connections_and_concurrent_calls_are_divided() -> None:
    keys = [{"name": "ann", "sha256": sha256_of("ann"), "concurrent_calls": 5, "requests_per_minute": 1}]
    configuration = Source({"workers": 3, "actor": {**ACTOR, "max_concurrency": 7}, "keys": keys}, None).read()
    parts = [configuration.divided(Share(index, 3)) for index in range(3)]
    assert sum(part.settings.admission.search_capacity for part in parts) == 6144
    assert sum(part.settings.connections.max_per_address for part in parts) == 512
    assert [part.settings.actor.max_concurrency for part in parts] == [3, 2, 2]  # type: ignore[union-attr]
    assert [next(iter(part.keyring or ())).concurrent_calls for part in parts] == [2, 2, 1]
    # Counted together instead.
    assert [next(iter(part.keyring or ())).requests_per_minute for part in parts] == [1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "workers: 4 workers would each load the models, which run in this process"),
        ({"actor": {"vllm": "a-model"}}, "workers: 4 workers would each load the models"),
        ({"actor": ACTOR, "refiner": {"vllm": "a-model"}}, "workers: 4 workers would each load the models"),
        ({"actor": {**ACTOR, "max_concurrency": 3}}, "actor.max_concurrency: 3 cannot be divided among 4 workers"),
        (
            {"actor": ACTOR, "keys": [{"name": "a", "sha256": "0" * 64, "concurrent_calls": 1}]},
            "keys: a: concurrent_calls: 1 cannot be divided among 4 workers; raise it to at least 4",
        ),
        ({"actor": ACTOR, "connections": {"max_per_address": 1}}, "connections.max_per_address: 1 cannot be divided"),
    ],
)
def test_what_cannot_be_divided_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Source({"workers": 4, **settings}, None).read()
    assert problem in str(refused.value)
