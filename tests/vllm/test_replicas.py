"""Two vLLM servers of one model: one is killed in the middle of a load, and comes back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import ask, check_search, text_of
from conftest import Fleet
from processes import metric, spar_serve, until

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_no_request_is_lost_when_one_of_two_replicas_is_killed(folder: Path, fleet: Fleet) -> None:
    flags = (
        "--actor-url", f"{fleet.actor.url}/v1", "--actor-url", f"{fleet.replica.url}/v1", "--actor-model", "actor",
        "--refiner-url", f"{fleet.refiner.url}/v1", "--refiner-model", "refiner",
        "--templates", "compact", "--model", "pair", "--config", str(folder / "small.toml"),
    )  # fmt: skip
    over = threading.Event()
    with spar_serve(folder, *flags) as gateway, ThreadPoolExecutor(12) as threads:

        def ask_on(first: int) -> list[int]:
            """Tokens of one answer after another, until it is over."""
            said: list[int] = []
            while not over.is_set():
                answer = ask(gateway.url, seed=first + len(said), max_tokens=120, ignore_eos=True)
                said.append(int(answer["usage"]["completion_tokens"]))
            return said

        load = [threads.submit(ask_on, 1000 * number) for number in range(12)]
        try:
            # The load goes on until it has met the replica at work, and for a while after that one is dead.
            until(lambda: metric(fleet.replica.url, "vllm:num_requests_running") > 0, 120)
            fleet.replica.kill()
            time.sleep(5)
        finally:
            over.set()
        said = [tokens for asking in load for tokens in asking.result()]
        assert len(said) > 12
        assert set(said) == {120}

        check_search(ask(gateway.url, refine_budget=3, max_tokens=100), budget=3)
        fleet.replica.start()
        fleet.replica.wait()

        def shared() -> bool:
            searches = [threads.submit(ask, gateway.url, max_tokens=40, ignore_eos=True) for _ in range(8)]
            assert all(text_of(search.result()) for search in searches)
            return metric(fleet.replica.url, "vllm:generation_tokens_total") > 0

        until(shared, 60)
