"""Two vLLM servers of one model: one is killed in the middle of a load, and comes back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.vllm.asking import PROMPT, ask, check_search, text_of
from tests.vllm.conftest import Fleet
from tests.vllm.processes import Server, metric, spar_serve, until

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def conversation(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{number}. {PROMPT}"}]


def moved(gateway: Server) -> float:
    """Calls that were tried again after their connection was lost, or could not be had."""
    return metric(gateway.url, 'spar_upstream_retries_total{endpoint="1",outcome="unavailable",role="actor"}')


def test_no_request_is_lost_when_one_of_two_replicas_is_killed(folder: Path, fleet: Fleet) -> None:
    flags = (
        "--actor-url", f"{fleet.actor.url}/v1", "--actor-url", f"{fleet.replica.url}/v1", "--actor-model", "actor",
        "--refiner-url", f"{fleet.refiner.url}/v1", "--refiner-model", "refiner",
        "--templates", "compact", "--model", "pair", "--config", str(folder / "small.toml"),
    )  # fmt: skip
    over = threading.Event()
    with spar_serve(folder, *flags) as gateway, ThreadPoolExecutor(12) as threads:
        said: list[int] = []

        def ask_on(first: int) -> None:
            """Note the tokens of one answer after another, until it is over."""
            for number in count(first):
                # Each in a conversation of its own: those of one conversation stay at one replica.
                answer = ask(gateway.url, messages=conversation(number), max_tokens=120, ignore_eos=True)
                said.append(int(answer["usage"]["completion_tokens"]))
                if over.is_set():
                    return

        load = [threads.submit(ask_on, 1000 * number) for number in range(12)]
        try:
            # The load goes on until it has met the replica at work, and for a while after that one is dead.
            until(lambda: metric(fleet.replica.url, "vllm:num_requests_running") > 0, 120)
            fleet.replica.kill()
            until(lambda: moved(gateway) > 0, 60)
            until(lambda: len(said) > 12, 120)
        finally:
            over.set()
        for asking in load:
            asking.result()
        assert set(said) == {120}

        check_search(ask(gateway.url, refine_budget=3, max_tokens=100), budget=3)
        fleet.replica.start()
        fleet.replica.wait()

        def shared() -> bool:
            answers = [
                threads.submit(ask, gateway.url, messages=conversation(number), max_tokens=40, ignore_eos=True)
                for number in range(8)
            ]
            assert all(text_of(answer.result()) for answer in answers)
            return metric(fleet.replica.url, "vllm:generation_tokens_total") > 0

        until(shared, 60)
