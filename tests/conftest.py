"""What tests of several parts share: real servers on free ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import uvicorn

from spar_server.app import create_app
from spar_server.metrics import Metrics
from spar_server.pair import Pair
from spar_server.settings import Settings

Serve = Callable[[Pair], AbstractContextManager[str]]


@contextmanager
def _running(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive(), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _serving(
    pair: Pair, settings: Settings | None = None, metrics: Metrics | None = None
) -> AbstractContextManager[str]:
    return _running(create_app(settings or Settings(), pair, metrics))


@pytest.fixture(scope="session")
def running() -> Callable[[Any], AbstractContextManager[str]]:
    """Run any ASGI app by a real uvicorn; the context's value is its URL."""
    return _running


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[str]]:
    """Serve a pair from a real uvicorn; the context's value is its URL."""
    return _serving
