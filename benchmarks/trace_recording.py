"""What storing traces costs: the gateway's CPU time per search of budget 8, with and without a trace store.

Two gateways front the same upstream in one run and take turns; one stores every search in SQLite. Every vote is No, so
each search expands its 8 nodes, judges 9 answers and stores all of it. Answers and judgements have some 70 words. CPU
time is that of the whole process.
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
from gateway_searches import ask, free_port, until_up, upstream

SECONDS = 0.02
WORDS = 70
ROUNDS = 8
SEARCHES = 100
AT_ONCE = 25
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


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(SEARCHES)))


async def stored(url: str, count: int) -> None:
    """Wait until that many traces are written."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/health") as response:
                if (await response.json())["traces"]["stored"] >= count:
                    return
            await asyncio.sleep(1)


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
                for pid, url in ((without, plain_url), (recording, traced_url)):
                    before = cpu_s(pid)
                    await searches(url)
                    if pid == recording:
                        await stored(url, (number + 1) * SEARCHES)
                    # The first round warms up.
                    if number:
                        spent[pid].append((cpu_s(pid) - before) / SEARCHES * 1000)
        size = sum(os.stat(file).st_size for file in os.scandir(folder))
    plain, traced = statistics.mean(spent[without]), statistics.mean(spent[recording])
    share = traced / plain - 1
    print(f"CPU per search of budget 8: {plain:.2f} ms without traces, {traced:.2f} ms with every search stored")
    print(f"  {size / (ROUNDS + 1) / SEARCHES / 1024:.0f} KiB each")
    print(f"  added {share:.1%} (bar: at most {LIMIT:.0%}: {'met' if share <= LIMIT else 'MISSED'})")


if __name__ == "__main__":
    asyncio.run(main())
