"""A served pair whose telemetry is collected in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from spar_server.app import create_app
from spar_server.models.pair import ServedPair
from spar_server.settings import Settings, TelemetrySettings
from tests.support.pairs import scripted_pair
from tests.support.telemetry import Collected


class Observed:
    """An app, asked without a server, and what its telemetry has collected."""

    def __init__(self, app: Any, collected: Collected) -> None:
        self.collected = collected
        self._transport = httpx.ASGITransport(app)

    async def ask(
        self, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        said = {"model": "pair", "messages": [{"role": "user", "content": "Hi there"}], **body}
        async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
            # In a task of its own, as a server does: a request binds its context.
            return await asyncio.create_task(client.post(path, json=said, headers=headers))


Observe = Callable[..., Observed]


@pytest.fixture
def observed() -> Observe:
    def observe(pair: ServedPair | None = None, settings: Settings | None = None, **telemetry: Any) -> Observed:
        served = pair or scripted_pair()
        settings = settings or Settings(telemetry=TelemetrySettings(**telemetry))
        collected = Collected(settings, served)
        return Observed(create_app(settings, served, telemetry=collected.telemetry), collected)

    return observe
