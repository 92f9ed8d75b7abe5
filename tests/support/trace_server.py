"""A server that stores traces, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_server.app import create_app
from spar_server.settings import Settings, TraceSettings
from tests.support.pairs import scripted_pair

Running = Callable[[Any], AbstractContextManager[str]]


class TraceServer:
    """A server that stores traces quickly, and a client of it."""

    def __init__(self, running: Running, folder: Path, **traces: Any) -> None:
        values = {"record": "on", "path": folder / "traces.sqlite", **traces}
        self.settings = Settings(traces=TraceSettings(**values))
        self.app = create_app(self.settings, scripted_pair())
        self.recorder = self.app.state.recorder
        self.recorder._linger_s = 0.01
        self._running = running

    def __enter__(self) -> TraceServer:
        self._context = self._running(self.app)
        self.client = httpx.Client(base_url=self._context.__enter__(), timeout=30)
        return self

    def __exit__(self, *error: Any) -> None:
        self.client.close()
        self._context.__exit__(*error)

    def ask(self, text: str = "Hi") -> str:
        """Ask something, which must be answered; its trace id."""
        asked = {"model": "pair", "refine_budget": 1, "messages": [{"role": "user", "content": text}]}
        response = self.client.post("/v1/chat/completions", json=asked)
        assert response.json()["choices"][0]["message"]["content"] == "better answer"
        return str(response.headers["x-spar-trace-id"])

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.client.get("/health").json()
        assert health["status"] == "ok"
        return dict(health["traces"])

    def until(self, **expected: Any) -> None:
        """Wait until the store's health is as expected."""
        for _ in range(3000):
            health = self.health()
            if all(health[name] == value for name, value in expected.items()):
                return
            time.sleep(0.02)
        pytest.fail(f"{health} instead of {expected}")

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def trace(self, id: str) -> httpx.Response:
        return self.client.get(f"/v1/traces/{id}")
