"""Requests per second that a gateway passes through with one and with two workers, on all the machine's cores.

The upstream answers at once, from its own process, and one more process sends the requests; both do as little as they
can, but what they do is done on the same cores. Rounds alternate, so that other load on the machine affects both. The
CPU time per request shows what a second worker costs: where it is the same, neither waits for the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from pass_through import HERE, Server, body, free_port, running, until_ready

WORKERS = (1, 2)
ROUNDS, REQUESTS, AT_ONCE = 5, 3000, 64
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Client(asyncio.Protocol):
    """A connection that sends the same request again and again, as long as there are `numbers`."""

    def __init__(self, request: bytes, numbers: Any) -> None:
        self._request = request
        self._numbers = numbers
        self._received = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, content = self._received.partition(b"\r\n\r\n")
        if found and len(content) >= int(re.search(rb"(?i)content-length: (\d+)", head)[1]):
            if not head.startswith(b"HTTP/1.1 200 ") or b"word" not in content:
                self.done.set_exception(RuntimeError(self._received[:300]))
                return
            self._received = b""
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the gateway closed a connection"))

    def _send(self) -> None:
        if next(self._numbers, None) is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(self._request)


async def send(port: str, requests: int) -> float:
    """Send requests from this process, AT_ONCE at a time; the seconds that they took."""
    content = json.dumps(body(stream=False)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    numbers, loop = iter(range(requests)), asyncio.get_running_loop()
    connect = [
        loop.create_connection(lambda: Client(head.encode() + content, numbers), "127.0.0.1", int(port))
        for _ in range(AT_ONCE)
    ]
    began = time.perf_counter()
    await asyncio.gather(*[client.done for _, client in await asyncio.gather(*connect)])
    return time.perf_counter() - began


@dataclass(frozen=True)
class Round:
    """Requests per second, CPU seconds of all workers per request, and the part of the worker that had most to do."""

    rate: float
    cpu_s: float
    busiest: float


def measure(port: str, server: Server, requests: int) -> Round:
    before = cpu_s(server)
    command = [sys.executable, __file__, "--client", port, "--requests", str(requests)]
    seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    used = [after - earlier for after, earlier in zip(cpu_s(server), before, strict=True)]
    return Round(requests / seconds, sum(used) / requests, max(used) / sum(used))


def cpu_s(server: Server) -> list[float]:
    """The CPU time of each process that serves so far."""
    pid = server.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or [str(pid)]
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in workers]
    return [(int(stat[11]) + int(stat[12])) * TICK_S for stat in stats]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--client", metavar="PORT")
    options = parser.parse_args()
    if options.client:
        print(uvloop.run(send(options.client, options.requests)))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = HERE / "peers" / "mock_upstream.py"
        upstream = stack.enter_context(running(sys.executable, mock, log=folder / "direct.log"))
        assert upstream.process.stdout is not None
        upstream_url = f"http://127.0.0.1:{upstream.process.stdout.readline().strip()}/v1"
        serve = [sys.executable, "-m", "spar_server.cli", "serve", "--actor-url", upstream_url, "--actor-model", "m"]
        servers, ports = {}, {}
        for workers in WORKERS:
            ports[workers] = free_port()
            command = [*serve, "--port", ports[workers], "--workers", str(workers)]
            log = folder / f"{workers}.log"
            servers[workers] = stack.enter_context(running(*command, log=log, SPAR_ACCESS_LOG="false"))
            asyncio.run(until_ready(f"http://127.0.0.1:{ports[workers]}/v1", servers[workers]))
        rounds = []
        for number in range(ROUNDS + 1):
            figures = {workers: measure(ports[workers], servers[workers], options.requests) for workers in WORKERS}
            # The first round is a warm-up.
            rounds += [figures] if number else []
    for workers in WORKERS:
        rate = statistics.median(each[workers].rate for each in rounds)
        cpu_ms = 1000 * statistics.median(each[workers].cpu_s for each in rounds)
        busiest = statistics.median(each[workers].busiest for each in rounds)
        print(
            f"{workers} worker(s): {rate:6,.0f} requests/s, {cpu_ms:.2f} ms of CPU each, {busiest:.0%} by the busiest"
        )
    faster = statistics.median(each[2].rate / each[1].rate for each in rounds)
    costlier = statistics.median(each[2].cpu_s / each[1].cpu_s for each in rounds)
    best = max(each[2].rate for each in rounds) / max(each[1].rate for each in rounds)
    print(f"2 workers against 1: {faster:.2f} times the rate (best {best:.2f}), {costlier:.2f} times the CPU")
    print(f"on {os.cpu_count()} cores, which the clients and the upstream share")


if __name__ == "__main__":
    main()
