"""`spar serve` with the pair under vLLM in its own process: answers, aborts, a clean end, and one that is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.vllm.asking import MESSAGES, ask, check_search, chunks, text_of, told
from tests.vllm.conftest import SMALL, Adapters
from tests.vllm.processes import KV_BYTES, MODELS, Server, group, metric, spar_serve, until

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def settings(folder: Path) -> Path:
    settings = folder / "in-process.toml"
    settings.write_text(
        f"shutdown_grace_s = 120\n{SMALL}\n"
        f"[vllm]\nmax_model_len = 512\nenforce_eager = true\nkv_cache_memory_bytes = {KV_BYTES}\n"
    )
    return settings


@pytest.fixture(scope="module")
def server(folder: Path, settings: Path) -> Iterator[Server]:
    flags = (
        "--actor-vllm", str(MODELS / "actor"), "--refiner-vllm", str(MODELS / "refiner"),
        "--templates", "compact", "--model", "pair", "--config", str(settings),
    )  # fmt: skip
    with spar_serve(folder, *flags) as server:
        yield server


def test_it_answers_streams_and_searches(server: Server) -> None:
    fields = {"max_tokens": 60, "seed": 7, "temperature": 0.9}
    answer = ask(server.url, **fields)
    assert told(list(chunks(server.url, **fields))) == text_of(answer)
    check_search(ask(server.url, refine_budget=4, seed=3, max_tokens=120), budget=4)
    both = ask(server.url, n=2, refine_budget=3, seed=3, max_tokens=60)
    assert len(both["choices"]) == 2
    assert httpx.get(f"{server.url}/ready").json() == {"ready": True}


def test_what_it_cannot_honour_is_refused_by_name(server: Server) -> None:
    tools = [{"type": "function", "function": {"name": "ring", "parameters": {"type": "object"}}}]
    image = [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
    for changes, says in (
        ({"tools": tools}, "tools"),
        ({"messages": [{"role": "user", "content": image}]}, "image_url"),
        ({"guided_json": {}, "guided_regex": "a"}, "guided_regex"),
        ({"seed": 2**70}, "seed"),
    ):
        body = {"model": "pair", "messages": MESSAGES, **changes}
        response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
        assert response.status_code == 400, response.text
        assert says in response.json()["error"]["message"]


def test_two_adapters_share_a_core_which_a_signal_to_the_whole_group_does_not_cut_off(
    folder: Path, settings: Path, adapters: Adapters
) -> None:
    base = str(MODELS / "actor")
    flags = (
        "--actor-vllm", base, "--actor-adapter", str(adapters.actor),
        "--refiner-vllm", base, "--refiner-adapter", str(adapters.refiner),
        "--templates", "compact", "--model", "pair", "--config", str(settings),
    )  # fmt: skip
    with spar_serve(folder, *flags) as server, ThreadPoolExecutor(1) as thread:
        assert len(_cores(server)) == 1
        search = thread.submit(ask, server.url, n=2, max_tokens=60, ignore_eos=True, refine_budget=2, seed=1)
        until(lambda: metric(server.url, "spar_requests_running") == 1, 120)
        os.killpg(server.pid, signal.SIGTERM)
        answer = search.result()
        assert len(answer["choices"]) == 2
        refinement = answer["usage"]["refinement"]
        assert refinement["degraded"] is False, refinement
        assert refinement["calls"]["judge"] >= 2
        until(lambda: not group(server.pid), 60)


def test_it_is_not_ready_once_a_core_has_died_and_ends_in_good_order_all_the_same(server: Server) -> None:
    cores = _cores(server)
    assert len(cores) == 2
    os.kill(cores[0], signal.SIGKILL)
    until(lambda: httpx.get(f"{server.url}/ready").status_code == 503, 60)
    # Once it has ended in good order it ends by the signal, as it was asked to.
    assert server.ask_to_end() in (0, -signal.SIGTERM)
    # The worker of the core that died sees to itself, in its own time.
    until(lambda: not group(server.pid), 60)


def test_nothing_outlives_a_server_that_is_killed(folder: Path, settings: Path) -> None:
    with spar_serve(folder, "--actor-vllm", str(MODELS / "actor"), "--config", str(settings)) as server:
        assert len(group(server.pid)) > 1
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not group(server.pid), 60)


def _cores(server: Server) -> list[int]:
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in group(server.pid)}
    return [pid for pid, title in titles.items() if b"EngineCore" in title]
