"""What telemetry costs: the gateway's CPU time per passed-through request and per search, with and without it.

Two gateways front the same upstreams and take turns; one sends every request by OpenTelemetry to a collector that
accepts everything. It hands requests to a process of its own, which does the sending: that process' CPU time is apart.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from cpu_time import Added, cpu_s
from gateway_searches import ask, until_up, upstream
from pass_through import body
from trace_recording import actor_url, gateway

ROUNDS = 40
AT_ONCE = 16
REQUESTS, STREAMS, SEARCHES = 300, 200, 40
# Longer than requests wait to be handed over together.
AFTER_S = 1.2
LIMIT = 0.05
HERE = Path(__file__).parent


@contextmanager
def answering() -> Iterator[str]:
    """The address of a server that answers every request at once: as an upstream, and as a collector."""
    command = (sys.executable, str(HERE / "peers" / "mock_upstream.py"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def children_s(pid: int) -> float:
    """The CPU time of a process' children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(cpu_s(int(child)) for task in tasks for child in (task / "children").read_text().split())


async def repeat(count: int, once: Callable[[], Awaitable[object]]) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await once()

    await asyncio.gather(*[work() for _ in range(AT_ONCE)])


async def compare(name: str, actor: str, collector: str, count: int, once: Callable[..., Awaitable[object]]) -> None:
    """Print the cost of `count` times `once(session, url)` on both gateways, which take turns."""
    on = {"SPAR_TELEMETRY__ENABLED": "true", "SPAR_TELEMETRY__ENDPOINT": collector}
    with gateway(actor) as (without, plain_url), gateway(actor, **on) as (telling, told_url):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
            for url in (plain_url, told_url):
                await until_up(session, f"{url}/ready")
            spent: dict[int, list[float]] = {without: [], telling: []}
            sending: list[float] = []
            for number in range(ROUNDS + 1):
                pairs = [(without, plain_url), (telling, told_url)]
                # Whoever is first in a round has the caches of the other.
                for pid, url in pairs if number % 2 else pairs[::-1]:
                    before, others = cpu_s(pid), children_s(pid)
                    await repeat(count, lambda url=url: once(session, url))
                    await asyncio.sleep(AFTER_S)
                    # The first round warms up.
                    if number:
                        spent[pid].append((cpu_s(pid) - before) / count * 1e6)
                        if pid == telling:
                            sending.append((children_s(pid) - others) / count * 1e6)
    plain, told = (statistics.median(spent[pid]) for pid in (without, telling))
    print(f"{name}: {plain:.0f} us of CPU without telemetry, {told:.0f} us with it")
    print(f"  {Added.between(spent[without], spent[telling]).against(LIMIT)}")
    print(f"  the process beside it: {statistics.median(sending):.0f} us", flush=True)


async def passed_through(session: aiohttp.ClientSession, url: str, *, stream: bool) -> None:
    async with session.post(f"{url}/v1/chat/completions", json=body(stream=stream)) as response:
        assert response.status == 200
        await response.read()


async def main() -> None:
    with answering() as quick, answering() as collector, upstream() as port:
        for stream, count in ((False, REQUESTS), (True, STREAMS)):

            async def once(session: aiohttp.ClientSession, url: str, stream: bool = stream) -> None:
                await passed_through(session, url, stream=stream)

            name = "a stream of 24 tokens that is passed through" if stream else "a request that is passed through"
            await compare(name, f"{quick}/v1", collector, count, once)

        async def search(session: aiohttp.ClientSession, url: str) -> None:
            await ask(session, url, refine_budget=8)

        await compare("a search of budget 8", actor_url(port), collector, SEARCHES, search)


if __name__ == "__main__":
    asyncio.run(main())
