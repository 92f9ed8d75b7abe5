"""Databases of both kinds."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from spar_server.settings import TraceSettings
from spar_server.traces.database import Database, open_database
from spar_server.traces.migrations import downgrade
from tests.support.postgres import Postgres, find_binaries


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # pytest's own folders are closed to the server's user.
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(binaries, Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        settings = TraceSettings(path=tmp_path / "traces.sqlite")
    else:
        settings = TraceSettings(url=SecretStr(request.getfixturevalue("postgres").url))
    database = open_database(settings)
    yield database
    if request.param == "postgresql":
        async with database.writing() as connection:
            await connection.run_sync(downgrade, "base")
    await database.aclose()
