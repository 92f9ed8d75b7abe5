"""The gateway in its own process, with an endpoint for its number of tasks and its memory.

The arguments are the URL of the upstream, and the database for traces if they are stored. Prints its own address, then
serves until it is stopped.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
from pathlib import Path

import uvicorn

from spar_server.app import create_app
from spar_server.models.pair import build_pair
from spar_server.settings import Settings


def main(upstream: str, database: str = "") -> None:
    # The upstream's faults are made to order; a busy machine must not add to them.
    common = {"url": upstream, "timeouts": {"connect": 300}}
    actor, refiner = {**common, "model": "actor"}, {**common, "model": "refiner"}
    traces = {"record": "on", "path": database} if database else {}
    settings = Settings.model_validate({"model": "pair", "actor": actor, "refiner": refiner, "traces": traces})
    app = create_app(settings, build_pair(settings))

    @app.get("/inside")
    async def inside() -> dict[str, int]:
        """The number of other tasks, and the process's memory in KiB."""
        gc.collect()
        return {"tasks": len(asyncio.all_tasks()) - 1, "rss_kib": _rss_kib()}

    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])


def _rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
