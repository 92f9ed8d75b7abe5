"""Clients that leave: nothing of their requests may stay behind, neither here nor upstream."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.attack.outcome import Outcome, none_of
from tests.attack.target import Reply, Target

_CLIENTS: Final = 60
_REACHES_WITHIN_S: Final = 20.0
_SETTLES_WITHIN_S: Final = 10.0


async def clients_that_leave(target: Target) -> list[Outcome]:
    outcomes = []
    for name, fields in {
        "a stream": {"stream": True},
        "an answer": {},
        "a streamed search": {"stream": True, "refine_budget": 8},
        "a search": {"refine_budget": 8, "n": 4},
    }.items():
        files = target.server.open_files()
        text = await target.play(delay_s=20.0)
        before = target.server.resident_mb()
        clients = [asyncio.create_task(target.chat(text, **fields)) for _ in range(_CLIENTS)]
        reached = await target.called(text, within_s=_REACHES_WITHIN_S)
        # The others arrive, too.
        await asyncio.sleep(1.0)
        await _leave(clients)
        running = await _until_idle(target, text)
        left = await target.settled_files(files + 2, within_s=_SETTLES_WITHIN_S)
        outcomes += [
            none_of(f"clients who left {name} before anything was done for them", [] if reached else ["all"]),
            Outcome(f"calls that outlive a client who left {name}", running, "calls", 0),
            Outcome(f"files left open by clients who left {name}", max(0, left - files), "files", 2),
            Outcome(f"memory kept of clients who left {name}", target.server.resident_mb() - before, "MB", 32),
        ]
    return outcomes


async def _leave(clients: list[asyncio.Task[Reply]]) -> None:
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


async def _until_idle(target: Target, text: str) -> int:
    until = time.monotonic() + _SETTLES_WITHIN_S
    while True:
        running = int((await target.seen(text))["running"])
        if not running or time.monotonic() > until:
            return running
        await asyncio.sleep(0.1)


async def metrics_without_end(target: Target) -> list[Outcome]:
    """What clients choose must not become labels: the metrics do not grow with the number of different requests."""
    before = len((await target.get("/metrics", key="mallory")).body)
    for number in range(100):
        await target.get(f"/v1/models/m{number}", key="mallory")
        await target.get(f"/path-{number}", key="mallory")
        await target.chat("Hi", model=f"model-{number}")
    grown = len((await target.get("/metrics", key="mallory")).body) - before
    return [Outcome("growth of the metrics by 300 odd requests", max(0, grown) / 1024, "kB", 4)]


ATTACKS: Final = (clients_that_leave, metrics_without_end)
