"""Searches through the whole gateway, and what they cost the pass-through requests beside them.

An upstream in a process of its own takes a set time a call, `spar serve` in another fronts it, one worker. Every
vote is No, so each search spends its budget.

- one search with the defaults (15 nodes): its critical path is 8 calls, draft and first judgement included;
- 100 searches of budget 8 at once, against one alone: ideal is that they do not slow each other down;
- pass-through latency while 50 searches run, against the same without them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from aiohttp import web

SLOW_S = 0.5
QUICK_S = 0.05
SEARCHES = 100
BESIDE = 50
PROBES = 300


def upstream(port: int) -> None:
    """Serve the mock upstream: `/SECONDS/v1` takes that long a call, `/0/v1` answers at once."""
    numbers = itertools.count()

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())["messages"]
        await asyncio.sleep(float(request.match_info["seconds"]))
        judged = asked[0]["content"].startswith("Judge the response.")
        text = f"[[start]]\nanswer {next(numbers)}\n[[end]]" if len(asked) > 1 else "Final Judgement: No"
        choice = {"index": 0, "message": {"content": text if judged else "draft"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/{seconds}/v1/chat/completions", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str, **env: str) -> Iterator[None]:
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def gateway(upstream_port: int, seconds: float) -> AsyncIterator[str]:
    """The address of a gateway before an upstream that takes `seconds` a call."""
    port = free_port()
    url = f"http://127.0.0.1:{upstream_port}/{seconds}/v1"
    serve = ("serve", "--port", str(port), "--actor-url", url, "--actor-model", "m", "--templates", "compact")
    with running(sys.executable, "-m", "spar_server.cli", *serve):
        base = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                try:
                    async with session.get(f"{base}/ready") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        yield base


async def ask(session: aiohttp.ClientSession, url: str, **body: Any) -> float:
    """Seconds that one request took."""
    began = time.perf_counter()
    request = {"model": "m", "messages": [{"role": "user", "content": "Write."}], **body}
    async with session.post(f"{url}/v1/chat/completions", json=request) as response:
        data = await response.json()
        assert response.status == 200, data
        assert data["usage"]["refinement"]["nodes"] == body.get("refine_budget", 0), data
    return time.perf_counter() - began


async def one_search(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await ask(session, url)
        took = min([await ask(session, url, refine_budget=15) for _ in range(3)])
    ideal = 8 * SLOW_S
    ratio = took / ideal
    print(f"one search, 15 nodes at {SLOW_S} s a call: {took:.2f} s, critical path {ideal:.2f} s")
    print(f"  ratio {ratio:.2f} (bar: at most 1.1: {'met' if ratio <= 1.1 else 'MISSED'})")


async def many_searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(10)))
        alone = statistics.median([await ask(session, url, refine_budget=8) for _ in range(5)])
        began = time.perf_counter()
        each = await asyncio.gather(*(ask(session, url, refine_budget=8) for _ in range(SEARCHES)))
        together = time.perf_counter() - began
    ideal = 6 * QUICK_S
    ratio = together / ideal
    print(f"{SEARCHES} searches of budget 8 at {QUICK_S} s a call: {together:.2f} s in all, ideal {ideal:.2f} s")
    print(f"  one alone {alone:.2f} s, median of them {statistics.median(each):.2f} s")
    print(f"  ratio {ratio:.2f} (bar: at most 2: {'met' if ratio <= 2 else 'MISSED'})")


async def probes(session: aiohttp.ClientSession, url: str) -> list[float]:
    taken = []
    for _ in range(PROBES):
        taken.append(await ask(session, url))
        await asyncio.sleep(0.01)
    return sorted(taken)


async def beside_searches(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await probes(session, url)
        quiet = await probes(session, url)

        async def search_on() -> None:
            while True:
                await ask(session, url, refine_budget=8)

        searches = [asyncio.create_task(search_on()) for _ in range(BESIDE)]
        await asyncio.sleep(2)
        busy = await probes(session, url)
        for task in searches:
            task.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    def at(share: float, taken: list[float]) -> float:
        return taken[int(share * (len(taken) - 1))] * 1000

    for share in (0.5, 0.99):
        print(
            f"pass-through p{share * 100:.0f}: {at(share, quiet):.1f} ms alone, "
            f"{at(share, busy):.1f} ms beside {BESIDE} searches, added {at(share, busy) - at(share, quiet):.1f} ms"
        )


async def main() -> None:
    port = free_port()
    with running(sys.executable, __file__, "upstream", str(port)):
        async with gateway(port, SLOW_S) as url:
            await one_search(url)
        async with gateway(port, QUICK_S) as url:
            await many_searches(url)
            await beside_searches(url)


if __name__ == "__main__":
    if sys.argv[1:2] == ["upstream"]:
        upstream(int(sys.argv[2]))
    else:
        asyncio.run(main())
