"""A PostgreSQL that asks for a password, which the server reads from a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from spar_core.errors import ConfigError
from spar_server.errors import StoreError
from spar_server.settings import TraceSettings
from spar_server.traces.database import open_database
from tests.support.postgres import Postgres, find_binaries

PASSWORD = "correct horse:/@"


@pytest.fixture(scope="module")
def url() -> Iterator[SecretStr]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(binaries, Path(folder), password=PASSWORD)
        server.start()
        yield SecretStr(server.url)
        server.stop()


async def migrate(url: SecretStr, file: Path | None) -> None:
    database = open_database(TraceSettings(url=url, password_file=file))
    try:
        await database.migrate()
    finally:
        await database.aclose()


async def test_the_password_is_the_first_line_of_the_file(url: SecretStr, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o444)
    await migrate(url, file)


@pytest.mark.parametrize("text", ["wrong", None])
async def test_a_wrong_password_or_none_is_an_error_of_the_store(
    url: SecretStr, tmp_path: Path, text: str | None
) -> None:
    file = None if text is None else tmp_path / "password"
    if file is not None and text is not None:
        file.write_text(text)
    with pytest.raises(StoreError, match="password"):
        await migrate(url, file)


def test_a_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    settings = TraceSettings(url=SecretStr("postgresql://spar@db/traces"), password_file=tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"traces\.password_file: .*missing: No such file"):
        open_database(settings)
