"""Fixtures of all tests: real servers on free ports."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from spar_server.app import Gateway, create_app
from spar_server.http.server import server_config
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair
from spar_server.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> Iterator[None]:
    """Raise httpx's default timeout of 5 s, within which a busy machine may not answer."""
    with pytest.MonkeyPatch.context() as patch:
        for phase in ("connect", "read", "write", "pool"):
            patch.setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 120.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a cache folder of the tests, not the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPAR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


Serve = Callable[[ServedPair], AbstractContextManager[str]]


@contextmanager
def _running(app: Any, settings: Settings | None = None, sockets: Sequence[socket.socket] = ()) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, settings or Settings()))
    thread = threading.Thread(target=server.run, args=([listening, *sockets],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive(), "the server did not start"
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)


def _serving(
    pair: ServedPair,
    settings: Settings | None = None,
    metrics: Metrics | None = None,
    sockets: Sequence[socket.socket] = (),
) -> AbstractContextManager[str]:
    settings = settings or Settings()
    return _running(_described(create_app(settings, pair, metrics)), settings, sockets)


_SCHEMAS: dict[Any, dict[str, Any]] = {}


def _described(app: Gateway) -> Gateway:
    """The app with its OpenAPI schema, which takes a tenth of a second to generate and is the same in most tests."""
    # Packages on the path add strategies and checks to it.
    key = (app.needs_key, *sys.path)
    if key not in _SCHEMAS:
        _SCHEMAS[key] = app.openapi()
    app.openapi_schema = _SCHEMAS[key]
    return app


@pytest.fixture(scope="session")
def running() -> Callable[[Any], AbstractContextManager[str]]:
    """Run any ASGI app as `spar serve` does; the context's value is its URL."""
    return _running


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[str]]:
    """Serve a pair from a real uvicorn; the context's value is its URL."""
    return _serving
