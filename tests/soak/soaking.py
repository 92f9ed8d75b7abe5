"""Send many requests through a real server with a faulty upstream, with clients that disconnect, and report problems.

`python -m tests.soak.soaking` runs it at full size (some minutes) and fails if there is any problem.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import aiohttp

from tests.soak.soak_upstream import FAULTS, FaultyUpstream, Record

AT_ONCE: Final = 32
LEAVE_RATE: Final = 0.05
# No call is cancelled, so that both sides count the same calls.
EXACT: Final = {"stop": "level", "early_vote_stop": False}
SETTLED_WITHIN_S: Final = 300.0
# Longer than any answer takes, however busy the machine: one that never comes is lost.
ANSWERED_WITHIN_S: Final = 600.0
SAMPLES: Final = 40


@dataclass
class Soak:
    """The state of the run, and descriptions of its `problems`."""

    upstream: FaultyUpstream
    client: aiohttp.ClientSession
    random: random.Random
    problems: list[str] = field(default_factory=list)
    # The kind of each request whose client disconnected.
    left: dict[int, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    rss_kib: list[int] = field(default_factory=list)

    async def ask(self, number: int, *, search: bool) -> None:
        """Send one request, and record any problem with its response."""
        leave = self.random.random() < LEAVE_RATE
        stream = self.random.random() < 0.5
        exact = self.random.random() < 0.5
        what = "search" if search else "pass through"
        body = {
            "model": "pair",
            "messages": [{"role": "user", "content": f"Please {what}. [#{number}{' leave' * leave}]"}],
            "stream": stream,
            "stream_options": {"include_usage": True} if stream else None,
            "refine_budget": 3 if search else 0,
            "refine": {"votes": 3, **(EXACT if exact else {})},
        }
        kind = f"{what}, {'stream' if stream else 'whole'}"
        work = asyncio.create_task(self._exchange(body))
        await asyncio.wait({work}, timeout=self.random.uniform(0.05, 0.5) if leave else None)
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.outcomes[f"{kind}: left"] += 1
            self.left[number] = kind
            return
        try:
            status, usage = work.result()
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError) as error:
            self.problems.append(f"request {number} ({kind}) was lost: {error!r}")
            return
        self.outcomes[f"{kind}: {status}"] += 1
        self._compare(f"request {number} ({kind})", status, usage, self.upstream.records[number], exact=exact)

    async def _exchange(self, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        """The status of the response, or of its error frame, and the usage."""
        async with self.client.post("/v1/chat/completions", json=body) as response:
            raw = await response.read()
            if response.status != 200:
                return response.status, None if json.loads(raw)["error"]["message"] else {}
            if not body["stream"]:
                return 200, json.loads(raw)["usage"]
        *frames, last = [line[6:] for line in raw.decode().split("\n\n") if line.startswith("data: ")]
        if last != "[DONE]":
            return {"upstream_error": 502, "upstream_overloaded": 503}[json.loads(last)["error"]["code"]], None
        return 200, json.loads(frames[-1])["usage"]

    def _compare(self, name: str, status: int, usage: dict[str, Any] | None, record: Record, *, exact: bool) -> None:
        if status != 200:
            if status not in {FAULTS[fault] for fault in record.faults}:
                self.problems.append(f"{name} was answered {status} where the upstream's faults were {record.faults}")
            return
        assert usage is not None
        told = usage["refinement"]["tokens"]
        counted = {role: {side: record.tokens[role][side] for side in ("prompt", "completion")} for role in told}
        # A cancelled call may have finished upstream just before.
        same = told == counted if exact else all(told[r][s] <= counted[r][s] for r in told for s in told[r])
        if not same:
            self.problems.append(f"{name} reports {told} where the upstream generated {counted}")
        if usage["completion_tokens"] != sum(tokens["completion"] for tokens in told.values()):
            self.problems.append(f"{name} does not add up: {usage}")

    async def inside(self) -> dict[str, int]:
        async with self.client.get("/inside") as response:
            return dict(await response.json())


async def soak(
    *, requests: int, searches: int, seed: int = 1, measure_memory: bool = True, traces: bool = False
) -> Soak:
    """Run the soak, and store its `traces`. Measure memory only in a run that is long enough to warm up."""
    upstream = FaultyUpstream(seed)
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "traces.sqlite") if traces else ""
        async with (
            upstream.serving() as upstream_url,
            _server(upstream_url, database, log) as url,
            _client(url) as client,
        ):
            run = Soak(upstream, client, random.Random(seed))
            await run.ask(0, search=False)
            before = await run.inside()
            await _send_all(run, requests, searches)
            await _settle(run, before["tasks"])
            await _look_at_metrics(run, 1 + requests + searches)
            if traces:
                await _look_at_traces(run)
        log.seek(0)
        if "Traceback" in (text := log.read()):
            run.problems.append(f"the server's log has a traceback: {text[text.index('Traceback') :][:2000]}")
    _look_at_upstream(run)
    if measure_memory:
        _look_at_memory(run)
    return run


async def _send_all(run: Soak, requests: int, searches: int) -> None:
    """Send all requests in random order, AT_ONCE at a time."""
    kinds = [False] * requests + [True] * searches
    run.random.shuffle(kinds)
    every = max(1, len(kinds) // SAMPLES)
    waiting = iter(enumerate(kinds, start=1))

    async def work() -> None:
        for number, search in waiting:
            await run.ask(number, search=search)
            if number % every == 0:
                run.rss_kib.append((await run.inside())["rss_kib"])

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def _settle(run: Soak, tasks: int) -> None:
    """Wait until the server has no more tasks than before; those that remain are a leak."""
    until = time.monotonic() + SETTLED_WITHIN_S
    while (now := await run.inside())["tasks"] > tasks:
        if time.monotonic() > until:
            run.problems.append(f"{now['tasks']} tasks are pending at the end; there were {tasks} at the start")
            return
        await asyncio.sleep(0.1)


async def _look_at_metrics(run: Soak, sent: int) -> None:
    async with run.client.get("/metrics") as response:
        lines = [line.rpartition(" ") for line in (await response.text()).splitlines() if not line.startswith("#")]
    running = sum(float(value) for name, _, value in lines if name.startswith("spar_requests_running"))
    begun = sum(float(value) for name, _, value in lines if name.startswith("spar_requests_total"))
    answered = sum(count for outcome, count in run.outcomes.items() if not outcome.endswith("left"))
    if running != 0:
        run.problems.append(f"the server believes that {running:g} requests are running")
    if not answered <= begun <= sent:
        run.problems.append(f"the server counted {begun:g} requests of {sent} sent and {answered} answered")


async def _look_at_traces(run: Soak) -> None:
    """Check that each search that was answered is stored, and wait for it."""
    answered = sum(count for outcome, count in run.outcomes.items() if re.match("search, .*: 200", outcome))
    until = time.monotonic() + SETTLED_WITHIN_S
    while True:
        async with run.client.get("/health") as response:
            health = (await response.json())["traces"]
        if health["stored"] >= answered and not health["queued"]:
            break
        if time.monotonic() > until:
            run.problems.append(f"{answered} searches were answered, and of their traces: {health}")
            return
        await asyncio.sleep(0.1)
    if health["dropped"]:
        run.problems.append(f"{health['dropped']} traces were dropped")


def _look_at_upstream(run: Soak) -> None:
    for number, record in run.upstream.records.items():
        if record.begun != record.finished + record.aborted + len(record.faults):
            run.problems.append(f"request {number}: a call of it was neither answered nor aborted: {record}")
    for number, kind in run.left.items():
        record = run.upstream.records[number]
        if record.outlived:
            run.problems.append(
                f"request {number} ({kind}): its client left, but a call of it ran to the end: {record}"
            )


def _look_at_memory(run: Soak) -> None:
    """Check that memory does not grow after the first quarter, the warm-up."""
    quarter = len(run.rss_kib) // 4
    warm, last = (statistics.median(part) for part in (run.rss_kib[quarter : 2 * quarter], run.rss_kib[-quarter:]))
    if last > 1.05 * warm:
        run.problems.append(f"memory grew from {warm / 1024:.1f} to {last / 1024:.1f} MiB after warm-up")


def _client(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=ANSWERED_WITHIN_S)
    )


@asynccontextmanager
async def _server(upstream: str, database: str, log: IO[str]) -> AsyncIterator[str]:
    """The URL of a gateway in its own process, with this `upstream` and a `database` for traces, if any."""
    script = Path(__file__).with_name("soak_server.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, upstream, database, stdout=asyncio.subprocess.PIPE, stderr=log
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        assert url, "the server did not start"
        yield url
    finally:
        process.terminate()
        await process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=1_000)
    parser.add_argument("--traces", action="store_true", help="store the searches as traces")
    sizes = parser.parse_args()
    began = time.perf_counter()
    run = asyncio.run(soak(requests=sizes.requests, searches=sizes.searches, traces=sizes.traces))
    for outcome, count in sorted(run.outcomes.items()):
        print(f"{count:7,}  {outcome}")
    faults = Counter(fault for record in run.upstream.records.values() for fault in record.faults)
    calls = sum(record.begun for record in run.upstream.records.values())
    print(f"{calls:,} upstream calls, {sum(faults.values()):,} of them faults: {dict(faults)}")
    print(f"memory in MiB: {', '.join(f'{kib / 1024:.0f}' for kib in run.rss_kib[::4])}")
    print(f"{time.perf_counter() - began:.0f} s, {len(run.problems)} problems", *run.problems[:20], sep="\n  ")
    sys.exit(bool(run.problems))


if __name__ == "__main__":
    main()
