"""Latency of searches through the whole gateway, and of passed-through requests beside them.

The upstream runs in its own process and takes a fixed time per call; `spar serve` runs in another, as one worker. Every
vote is No, so each search spends its budget.

- One search with the defaults (15 nodes). Its critical path is 8 calls, including draft and first judgement. Also the
  most similar techniques of its_hub and OptiLLM, each in its own environment, with the same number of calls (the votes
  of a judgement are one call, as the upstream counts them).
- 100 concurrent searches of budget 8; ideal is the critical path of one.
- Latency of passed-through requests while 50 searches run and without them, in alternating rounds.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from peers.environment import installed

SLOW_S = 0.5
QUICK_S = 0.05
SEARCHES = 100
BESIDE = 50
PROBES = 300
ROUNDS = 3
HERE = Path(__file__).parent
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Write."}]}


@contextmanager
def upstream() -> Iterator[int]:
    """The port of the running upstream."""
    command = (sys.executable, str(HERE / "peers" / "searched_upstream.py"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str, **env: str) -> Iterator[None]:
    """A process that ends with the context; the output of peers, which are configured by environment, is ignored."""
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL if env else None
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def gateway(upstream_port: int, seconds: float) -> AsyncIterator[str]:
    """The address of a gateway whose upstream takes `seconds` per call."""
    port = free_port()
    url = f"http://127.0.0.1:{upstream_port}/{seconds}/v1"
    serve = ("serve", "--port", str(port), "--actor-url", url, "--actor-model", "m", "--templates", "compact")
    with running(sys.executable, "-m", "spar_server.cli", *serve):
        base = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            await until_up(session, f"{base}/ready")
        yield base


async def ask(session: aiohttp.ClientSession, url: str, **body: Any) -> float:
    """Seconds that one request took."""
    began = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", json={**REQUEST, **body}) as response:
        data = await response.json()
        assert response.status == 200, data
        assert data["usage"]["refinement"]["nodes"] == body.get("refine_budget", 0), data
    return time.perf_counter() - began


class Calls:
    """The number of upstream calls since the last time."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/calls"
        self._last = -1

    async def since(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(self._url) as response:
            number = int(await response.json())
        made, self._last = number - self._last - 1, number
        return made


async def one_search(url: str, calls: Calls) -> int:
    """Print the duration of a full search; return its number of calls."""
    async with aiohttp.ClientSession() as session:
        await ask(session, url)
        await calls.since()
        taken = [await ask(session, url, refine_budget=15) for _ in range(ROUNDS)]
    made = await calls.since() // ROUNDS
    ideal = 8 * SLOW_S
    ratio = statistics.median(taken) / ideal
    print(f"one search, 15 nodes, {made} calls of {SLOW_S} s: {spread(taken)}, critical path {ideal:.2f} s")
    print(f"  ratio {ratio:.2f} (bar: at most 1.1: {'met' if ratio <= 1.1 else 'MISSED'})")
    return made


def spread(taken: list[float]) -> str:
    return f"median {statistics.median(taken):.2f} s, least {min(taken):.2f} s"


async def its_hub(upstream_url: str, calls: Calls, made: int) -> None:
    n = made // 2
    await calls.since()
    program = str(installed("its-hub") / "python")
    script = str(HERE / "peers" / "its_hub_best_of_n.py")
    process = await asyncio.create_subprocess_exec(
        program,
        script,
        upstream_url,
        str(n),
        str(ROUNDS),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    taken = [float(line) for line in output.split()]
    print_peer("its_hub, best of n, no refinement", await calls.since() // ROUNDS, taken, depth=2)


async def optillm(upstream_url: str, calls: Calls, made: int) -> None:
    for approach, flags, depth in (
        # Each of its simulations makes 7 calls, one after the other.
        ("mcts", ("--mcts-simulations", str(max(1, made // 7))), None),
        ("bon", ("--best-of-n", str(made - 1)), 2),
    ):
        port = free_port()
        command = (str(installed("optillm") / "optillm"), "--approach", approach, "--base-url", upstream_url,
                   "--port", str(port), "--log", "error", *flags)  # fmt: skip
        headers = {"Authorization": "Bearer none"}
        with running(*command, OPENAI_API_KEY="none"):
            timeout = aiohttp.ClientTimeout(total=600)
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
                await until_up(session, f"http://127.0.0.1:{port}/health")
                await calls.since()
                began = time.perf_counter()
                async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=REQUEST) as response:
                    assert response.status == 200, await response.text()
                taken = time.perf_counter() - began
        print_peer(f"OptiLLM, {approach}", await calls.since(), [taken], depth=depth)


def print_peer(name: str, made: int, taken: list[float], *, depth: int | None) -> None:
    """`depth` is the number of its dependent calls; None if all are."""
    ideal = (depth or made) * SLOW_S
    ratio = statistics.median(taken) / ideal
    print(f"{name}: {made} calls, {spread(taken)}, its own critical path {ideal:.2f} s, ratio {ratio:.2f}")


async def until_up(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(1200):
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{url} did not come up")


async def many_searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(10)))
        alone, together, each = [], [], []
        for _ in range(ROUNDS):
            alone.append(await ask(session, url, refine_budget=8))
            began = time.perf_counter()
            each += await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(SEARCHES)))
            together.append(time.perf_counter() - began)
    ideal = 6 * QUICK_S
    ratio = statistics.median(together) / ideal
    print(f"{SEARCHES} searches of budget 8 at {QUICK_S} s per call: {spread(together)} in all, ideal {ideal:.2f} s")
    print(f"  one alone {spread(alone)}; of them all, each {spread(each)}")
    print(
        f"  ratio {ratio:.2f}, least {min(together) / ideal:.2f} (bar: at most 2: {'met' if ratio <= 2 else 'MISSED'})"
    )


async def probes(session: aiohttp.ClientSession, url: str) -> list[float]:
    taken = []
    for _ in range(PROBES // ROUNDS):
        taken.append(await ask(session, url))
        await asyncio.sleep(0.01)
    return taken


async def beside_searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    quiet: list[float] = []
    busy: list[float] = []
    async with aiohttp.ClientSession(connector=connector) as session:

        async def search_on() -> None:
            while True:
                await ask(session, url, refine_budget=8)

        await probes(session, url)
        for _ in range(ROUNDS):
            quiet += await probes(session, url)
            searches = [asyncio.create_task(search_on()) for _ in range(BESIDE)]
            await asyncio.sleep(1)
            busy += await probes(session, url)
            for task in searches:
                task.cancel()
            await asyncio.gather(*searches, return_exceptions=True)
            await asyncio.sleep(0.2)

    def at(share: float, taken: list[float]) -> float:
        return sorted(taken)[int(share * (len(taken) - 1))] * 1000

    for share in (0.5, 0.99):
        print(
            f"pass-through p{share * 100:.0f}: {at(share, quiet):.1f} ms alone, "
            f"{at(share, busy):.1f} ms beside {BESIDE} searches, added {at(share, busy) - at(share, quiet):.1f} ms"
        )


async def main(*, peers: bool) -> None:
    with upstream() as port:
        calls = Calls(port)
        async with gateway(port, SLOW_S) as url:
            made = await one_search(url, calls)
        if peers:
            slow = f"http://127.0.0.1:{port}/{SLOW_S}/v1"
            await its_hub(slow, calls, made)
            await optillm(slow, calls, made)
        async with gateway(port, QUICK_S) as url:
            await many_searches(url)
            await beside_searches(url)


if __name__ == "__main__":
    asyncio.run(main(peers="--no-peers" not in sys.argv))
