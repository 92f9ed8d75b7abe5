"""A gateway whose refiner is gone: it goes on answering with drafts, and says so."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest

from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import build_pair
from spar_server.settings import Settings
from tests.support.faulty_upstream import FaultyUpstream

Serving = Callable[..., AbstractContextManager[str]]
CHAT = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "refine_budget": 3}


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with FaultyUpstream(say=lambda call: "a plain draft").serving() as actor:
        settings = Settings(
            model="pair",
            actor={"url": actor.url, "model": "actor"},  # type: ignore[arg-type]
            refiner={"url": dead, "model": "refiner", "retries": 0},  # type: ignore[arg-type]
        )
        metrics = Metrics()
        pair = build_pair(settings, metrics.upstreams.of)
        with serving(pair, settings, metrics) as url, httpx.Client(base_url=url, timeout=120) as client:
            yield client


def test_it_stays_ready_and_the_metric_shows_the_loss(client: httpx.Client) -> None:
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True})
    shown = client.get("/metrics").text
    assert 'spar_model_ready{role="actor"} 1.0' in shown
    assert 'spar_model_ready{role="refiner"} 0.0' in shown


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
def test_the_last_chunk_of_a_stream_reports_a_degraded_answer(client: httpx.Client, options: dict[str, object]) -> None:
    response = client.post("/v1/chat/completions", json={**CHAT, **options, "stream": True})
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    chunks = [json.loads(line) for line in lines[:-1]]
    last = next(chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"])
    assert last["spar"]["degraded"] is True


def test_an_unstreamed_answer_reports_it_too(client: httpx.Client) -> None:
    body = client.post("/v1/chat/completions", json=CHAT).json()
    assert body["choices"][0]["message"]["content"] == "a plain draft"
    assert body["spar"]["degraded"] is body["usage"]["refinement"]["degraded"] is True
    plain = client.post("/v1/chat/completions", json={**CHAT, "refine_budget": 0}).json()
    assert plain["spar"]["degraded"] is False
