"""What `spar serve --check` says of the trace database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pydantic import SecretStr

from spar_server.settings import TraceSettings
from spar_server.traces.database import Database, open_database
from spar_server.traces.migrations import VERSION_TABLE
from spar_server.traces.opening import find_problem
from tests.support.postgres import Postgres


async def test_a_database_that_can_be_used_is_left_as_it_is(tmp_path: Path, postgres: Postgres) -> None:
    file = tmp_path / "traces.sqlite"
    assert await find_problem(TraceSettings(record=1, path=file), None) is None
    assert not file.exists()
    file.touch()
    for settings in (
        TraceSettings(record=1, path=file),
        TraceSettings(record=1, url=SecretStr(postgres.new_database())),
    ):
        assert await find_problem(settings, None) is None
        assert await _tables(open_database(settings)) == 0


async def _tables(database: Database) -> int:
    names = "sqlite_master WHERE name" if database.dialect == "sqlite" else "pg_tables WHERE tablename"
    async with database.reading() as connection:
        result = await connection.exec_driver_sql(f"SELECT count(*) FROM {names} LIKE 'spar%'")
        count: int = result.scalar_one()
    await database.aclose()
    return count


async def test_nothing_is_checked_where_no_search_is_stored(tmp_path: Path) -> None:
    assert await find_problem(TraceSettings(path=tmp_path / "nowhere" / "traces.sqlite"), None) is None


async def test_the_database_is_checked_for_batches_too(tmp_path: Path) -> None:
    traces = TraceSettings(path=tmp_path / "nowhere" / "traces.sqlite")
    assert "traces.path" in (await find_problem(traces, None, batches=True) or "")


async def test_a_path_that_holds_no_database_is_named_with_the_fix(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path / "nowhere" / "traces.sqlite", f"{tmp_path}/nowhere is not a folder that can be written"),
        (tmp_path, "Is a directory"),
        (_text(tmp_path), "file is not a database"),
        (_of_a_later_version(tmp_path), "'9999'"),
    ):
        problem = await find_problem(TraceSettings(record=1, path=path), None)
        assert problem is not None
        assert problem.startswith("traces.path: ")
        assert says in problem
        assert "set it to a " in problem


def _text(folder: Path) -> Path:
    file = folder / "notes.txt"
    file.write_text("Not a database. " * 100)
    return file


def _of_a_later_version(folder: Path) -> Path:
    file = folder / "later.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)")
        connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES ('9999')")
    connection.close()
    return file


async def test_a_postgresql_that_does_not_answer_or_lets_nothing_be_written_is_named(postgres: Postgres) -> None:
    dead = TraceSettings(record=1, url=SecretStr("postgresql://spar:hidden@127.0.0.1:9/traces"))
    problem = await find_problem(dead, None)
    assert problem is not None
    assert problem.startswith("traces.url: the database cannot be used: ")
    assert "start it, correct the URL or the password" in problem
    assert "hidden" not in problem
    reader = f"{postgres.new_database()}?default_transaction_read_only=on"
    problem = await find_problem(TraceSettings(record=1, url=SecretStr(reader)), None)
    assert problem is not None
    assert "let its user create tables" in problem
