"""What storing traces costs: the gateway's CPU time per search of budget 8, with and without a trace store.

Two gateways front the same upstream in one run and take turns; one stores every search in SQLite. Every vote is No, so
each search expands its 8 nodes, judges 9 answers and stores all of it. Answers and judgements have some 70 words. CPU
time is that of the whole process until the traces are written, less what a gateway uses in that time without a search.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from cpu_time import Added, cpu_s
from gateway_searches import ask, free_port, until_up, upstream

SECONDS = 0.02
WORDS = 70
ROUNDS = 24
SEARCHES = 50
AT_ONCE = 25
# Longer than traces wait to be written together.
AFTER_S = 6
LIMIT = 0.05


def actor_url(upstream_port: int) -> str:
    """The upstream's address for answers that take as long as a real model's."""
    return f"http://127.0.0.1:{upstream_port}/{SECONDS}x{WORDS}/v1"


@contextmanager
def gateway(actor: str, **env: str) -> Iterator[tuple[int, str]]:
    """The process id and the address of a gateway in front of the actor at that URL."""
    port = free_port()
    serve = ("serve", "--port", str(port), "--actor-url", actor, "--actor-model", "m", "--templates", "compact")
    command = (sys.executable, "-m", "spar_server.cli", *serve)
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


async def searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(SEARCHES)))


async def stored(url: str) -> int:
    """How many traces are written."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
        return int((await response.json())["traces"]["stored"])


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        database = str(Path(folder) / "traces.sqlite")
        with (
            gateway(actor_url(port)) as (without, plain_url),
            gateway(actor_url(port), SPAR_TRACES__RECORD="on", SPAR_TRACES__PATH=database) as (recording, traced_url),
        ):
            async with aiohttp.ClientSession() as session:
                await until_up(session, f"{plain_url}/ready")
                await until_up(session, f"{traced_url}/ready")
            spent: dict[int, list[float]] = {without: [], recording: []}
            for number in range(ROUNDS + 1):
                pairs = ((without, plain_url), (recording, traced_url))
                began, searched = {pid: cpu_s(pid) for pid, _ in pairs}, 0.0
                # Whoever is first in a round has the caches of the other.
                for pid, url in pairs if number % 2 else pairs[::-1]:
                    before = cpu_s(pid)
                    await searches(url)
                    if pid == without:
                        searched = cpu_s(pid) - before
                await asyncio.sleep(AFTER_S)
                whole = {pid: cpu_s(pid) - began[pid] for pid, _ in pairs}
                if (count := await stored(traced_url)) != (number + 1) * SEARCHES:
                    raise RuntimeError(f"round {number}: {count} traces are stored")
                # The first round warms up. What a gateway does while nobody asks, the one without traces shows.
                if number:
                    idle = whole[without] - searched
                    for pid, _ in pairs:
                        spent[pid].append((whole[pid] - idle) / SEARCHES * 1000)
        size = sum(os.stat(file).st_size for file in os.scandir(folder))
    plain, traced = (statistics.median(spent[pid]) for pid in (without, recording))
    more = statistics.median(b - a for a, b in zip(spent[without], spent[recording], strict=True))
    print(f"CPU per search of budget 8: {plain:.2f} ms without traces, {traced:.2f} ms with every search stored")
    print(f"  the difference of a round: {more:.2f} ms")
    print(f"  {size / (ROUNDS + 1) / SEARCHES / 1024:.0f} KiB each")
    print(f"  {Added.between(spent[without], spent[recording]).against(LIMIT)}")


if __name__ == "__main__":
    asyncio.run(main())
