"""Metrics by the class of the budget, progress and lift."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from spar_server.app import create_app
from spar_server.metrics.metrics import budget_class
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair


@pytest.mark.parametrize(
    ("budget", "named"), [(0, "0"), (1, "1-2"), (2, "1-2"), (3, "3-8"), (8, "3-8"), (9, "9+"), (64, "9+")]
)
def test_budgets_are_counted_in_four_classes(budget: int, named: str) -> None:
    assert budget_class(budget) == named


@pytest.fixture
async def client() -> Any:
    transport = httpx.ASGITransport(create_app(Settings(), scripted_pair()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    said = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], **body}
    response = await client.post("/v1/chat/completions", json=said)
    return {} if body.get("stream") else dict(response.json())


async def test_latency_depth_and_lift_are_by_the_class_of_the_budget(client: httpx.AsyncClient) -> None:
    answer = await ask(client, refine_budget=2)
    await ask(client)
    tokens = sum(each["completion"] for each in answer["usage"]["refinement"]["tokens"].values())
    metrics = (await client.get("/metrics")).text
    for line in (
        'spar_request_duration_seconds_count{budget="1-2",kind="search"} 1.0',
        'spar_request_duration_seconds_count{budget="0",kind="pass_through"} 1.0',
        'spar_answer_depth_sum{budget="1-2"} 1.0',
        'spar_improved_total{budget="1-2"} 1.0',
        f'spar_search_tokens_total{{budget="1-2"}} {float(tokens)}',
        "spar_time_to_first_progress_seconds_count 0.0",
    ):
        assert line in metrics
    assert 'spar_build_info{python="3.' in metrics


async def test_a_streamed_search_that_shows_its_steps_has_a_first_one(client: httpx.AsyncClient) -> None:
    await ask(client, refine_budget=2, stream=True, refine={"progress": True})
    await ask(client, refine_budget=2, stream=True, refine={"progress": False})
    assert "spar_time_to_first_progress_seconds_count 1.0" in (await client.get("/metrics")).text
