"""What the endpoints of files and batches need, opened as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import State
from starlette.types import ASGIApp

from spar_server.auth.access import allow_model
from spar_server.metrics.metrics import Metrics
from spar_server.serving.gate import Gate
from spar_server.serving.model_name import find_model
from spar_server.settings import ApiKey, Settings
from spar_server.traces.opening import require_libraries

if TYPE_CHECKING:
    from spar_server.batches.calls import Answer
    from spar_server.batches.files import FileStore
    from spar_server.batches.input import CheckModel
    from spar_server.batches.runner import BatchRunner
    from spar_server.batches.store import BatchStore
    from spar_server.traces.database import Database


@dataclass(frozen=True, slots=True)
class BatchService:
    """Files, batches, and what runs these."""

    files: FileStore
    batches: BatchStore
    runner: BatchRunner
    database: Database


@asynccontextmanager
async def running(service: BatchService | None, *, expires: bool) -> AsyncIterator[None]:
    """Run the service's batches while the context is open, and if it `expires` them delete what is old."""
    if service is None:
        yield
        return
    service.runner.start(expires=expires)
    try:
        yield
    finally:
        await service.runner.aclose()


class Keys(Protocol):
    def find(self, name: str) -> ApiKey | None:
        """The key with this name, as it is now."""
        ...


class Gateway(Protocol):
    """The application, as far as batches need it."""

    @property
    def state(self) -> State: ...

    @property
    def auth(self) -> Keys: ...

    @property
    def front(self) -> ASGIApp: ...


def open_batches(settings: Settings, app: Gateway) -> BatchService | None:
    """The service, whose runner is yet to be started; None if the settings leave it off.

    Raises:
        ConfigError: the database cannot be used, or a library is not installed.
    """
    if not settings.batches.enabled:
        return None
    # Imported here because most servers have no batches, and may lack what these need.
    require_libraries(settings.traces, batches=True)
    from spar_server.batches.files import FileStore
    from spar_server.batches.runner import BatchRunner
    from spar_server.batches.store import BatchStore
    from spar_server.traces.database import open_database

    database = open_database(settings.traces)
    files, batches = FileStore(database, settings.batches), BatchStore(database, settings.batches)
    metrics: Metrics = app.state.metrics
    runner = BatchRunner(_Server(app), database, files, batches, metrics.batches)
    return BatchService(files, batches, runner, database)


class _Server:
    """The running server, with the settings and keys of its latest reload."""

    def __init__(self, app: Gateway) -> None:
        self._app = app

    @property
    def settings(self) -> Settings:
        settings: Settings = self._app.state.settings
        return settings

    @property
    def is_busy(self) -> bool:
        gate: Gate = self._app.state.gate
        return bool(gate.searches.waiting or gate.passed_through.waiting)

    @property
    def is_stopping(self) -> bool:
        gate: Gate = self._app.state.gate
        return gate.draining.started

    def find_key(self, name: str) -> ApiKey | None:
        return self._app.auth.find(name)

    def check_model(self, key: ApiKey) -> CheckModel:
        return partial(_check_model, key, self._app.state.pair.name, self.settings)

    def post(self, path: str, body: bytes, key: ApiKey) -> Awaitable[Answer]:
        from spar_server.batches.calls import post

        return post(self._app.front, path, body, key)


def _check_model(key: ApiKey, pair: str, settings: Settings, name: str) -> None:
    allow_model(key, find_model(name, pair, settings.models).name)
