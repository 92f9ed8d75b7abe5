"""Requests per second that a gateway passes through with one and with two workers.

The upstream answers at once, from its own process, and the clients are processes of their own. Each of them takes CPU
time too: with fewer than five cores for two workers, the ratio is bounded by the cores that are left. So the CPU time
that a worker spends per request is printed as well, which shows what workers cost: the same for one and for two means
that neither waits for the other. Rounds alternate, so that other load on the machine affects both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from pass_through import HERE, Server, ask, free_port, running, until_ready

WORKERS = (1, 2)
CLIENTS = 2
ROUNDS, REQUESTS, AT_ONCE = 5, 1500, 32
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """Requests per second, and CPU seconds of all workers per request."""

    rate: float
    cpu_s: float


async def send(url: str, requests: int) -> None:
    """Send requests from one client process, AT_ONCE at a time."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        numbers = iter(range(requests))

        async def work() -> None:
            for _ in numbers:
                await ask(client, url, stream=False)

        await asyncio.gather(*[work() for _ in range(AT_ONCE)])


def measure(url: str, server: Server, requests: int) -> Round:
    command = [sys.executable, __file__, "--client", url, "--requests", str(requests // CLIENTS)]
    before, began = cpu_s(server), time.perf_counter()
    clients = [subprocess.Popen(command) for _ in range(CLIENTS)]
    if sum(client.wait() for client in clients):
        raise RuntimeError("a client failed")
    return Round(requests / (time.perf_counter() - began), (cpu_s(server) - before) / requests)


def cpu_s(server: Server) -> float:
    """The CPU time of the server with its workers so far."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in (str(pid), *children)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) * TICK_S


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--client", metavar="URL")
    options = parser.parse_args()
    if options.client:
        asyncio.run(send(options.client, options.requests))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = HERE / "peers" / "mock_upstream.py"
        upstream = stack.enter_context(running(sys.executable, mock, log=folder / "direct.log"))
        assert upstream.process.stdout is not None
        actor = [
            "--actor-url",
            f"http://127.0.0.1:{upstream.process.stdout.readline().strip()}/v1",
            "--actor-model",
            "m",
        ]
        servers, urls = {}, {}
        for workers in WORKERS:
            port = free_port()
            command = [
                sys.executable,
                "-m",
                "spar_server.cli",
                "serve",
                "--port",
                port,
                "--workers",
                str(workers),
                *actor,
            ]
            log = folder / f"{workers}.log"
            servers[workers] = stack.enter_context(running(*command, log=log, SPAR_ACCESS_LOG="false"))
            urls[workers] = f"http://127.0.0.1:{port}/v1"
            asyncio.run(until_ready(urls[workers], servers[workers]))
        rounds = []
        for number in range(ROUNDS + 1):
            figures = {workers: measure(urls[workers], servers[workers], options.requests) for workers in WORKERS}
            # The first round is a warm-up.
            rounds += [figures] if number else []
    for workers in WORKERS:
        rate = statistics.median(each[workers].rate for each in rounds)
        cpu_ms = 1000 * statistics.median(each[workers].cpu_s for each in rounds)
        print(f"{workers} worker{'s' * (workers > 1)}: {rate:7,.0f} requests/s, {cpu_ms:.2f} ms of CPU per request")
    faster = statistics.median(each[2].rate / each[1].rate for each in rounds)
    costlier = statistics.median(each[2].cpu_s / each[1].cpu_s for each in rounds)
    best = max(each[2].rate for each in rounds) / max(each[1].rate for each in rounds)
    print(
        f"2 workers against 1: {faster:.2f} times the rate (best {best:.2f}), {costlier:.2f} times the CPU per request"
    )
    print(f"on {os.cpu_count()} cores, which {CLIENTS} clients and the upstream share")


if __name__ == "__main__":
    main()
