"""The database of traces, files and batches: a SQLite file, or PostgreSQL by URL."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from spar_core.errors import ConfigError
from spar_server.errors import ApiError, LeaseLostError, StoreError, StoreRefusedError
from spar_server.settings import TraceSettings
from spar_server.traces.migrations import upgrade

# Set on connections that write: SQLite then takes its lock at once, instead of failing where it would need it.
_WRITES: Final = "spar_writes"
# Servers that start together migrate one after the other. Any number that no other application locks.
_MIGRATION_LOCK: Final = 7_305_172_960
# Transactions that read at a time. The pool has more connections, so that readers never keep a writer waiting.
_READERS: Final = 4
# How long a connection waits for SQLite's lock, or for PostgreSQL to accept it.
_WAIT_S: Final = 5.0


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except (ApiError, LeaseLostError):
        # Of the code in the transaction, which it rolls back.
        raise
    except (DataError, IntegrityError) as error:
        raise StoreRefusedError(_first_line(error)) from error
    except Exception as error:
        # Drivers, connections and migrations fail in their own ways, and all mean the same here.
        raise StoreError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


class Database:
    """Transactions on the tables, which raise StoreError. Nothing is opened before the first of them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._readers = asyncio.Semaphore(_READERS)
        self._opened = False
        self.dialect = engine.dialect.name
        # The dialect's own, for what to do if a row is there already.
        self.insert = sqlite.insert if self.dialect == "sqlite" else postgresql.insert

    async def open(self) -> None:
        """Migrate before the first use; afterwards this costs nothing."""
        if not self._opened:
            await self.migrate()
            self._opened = True

    async def migrate(self) -> None:
        """Create the tables, or bring those of an earlier version up to date."""
        async with self.writing() as connection:
            await self._upgrade(connection)

    async def rehearse(self) -> None:
        """Do all that `migrate` does and roll it back: it fails wherever `migrate` would."""
        with _store_errors():
            async with self._engine.connect() as connection:
                writer = await connection.execution_options(**{_WRITES: True})
                # Begun here: where Alembic begins a transaction, it commits it.
                transaction = await writer.begin()
                await self._upgrade(writer)
                await transaction.rollback()

    async def _upgrade(self, connection: AsyncConnection) -> None:
        if self.dialect == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
        await connection.run_sync(upgrade)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with _store_errors():
            async with self._readers, self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end."""
        with _store_errors():
            async with self._engine.connect() as connection:
                writer = await connection.execution_options(**{_WRITES: True})
                async with writer.begin():
                    yield writer

    async def compact(self) -> None:
        """Give the space of deleted rows back to the file system; PostgreSQL's autovacuum reuses it."""
        if self.dialect == "sqlite":
            async with self.writing() as connection:
                await connection.exec_driver_sql("PRAGMA incremental_vacuum")

    async def aclose(self) -> None:
        await self._engine.dispose()


def open_database(settings: TraceSettings) -> Database:
    """The database that the settings name; it may be unreachable.

    Raises:
        ConfigError: the URL is not PostgreSQL's, its driver is not installed, the password's file cannot be read, or
            the path cannot hold a file.
    """
    if settings.url is None:
        return Database(_sqlite(settings.path))
    password = _read_password(settings.password_file) if settings.password_file else None
    return Database(_postgresql(settings.url.get_secret_value(), password))


def _read_password(file: Path) -> str:
    """The first line of the file, which unlike PGPASSFILE others may read: a container's secrets often are so."""
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"traces.password_file: {file}: {reason}; name a readable file with the password, or remove it"
        ) from error


def _sqlite(path: Path) -> AsyncEngine:
    try:
        # Traces contain conversations: only this user may read them.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(f"traces.path: {path}: {error.strerror}; set it to a file in a writable folder") from error
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": _WAIT_S}, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # Python's driver would begin transactions by itself, and commit before a statement that creates a table.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("auto_vacuum=incremental", "journal_mode=wal", "synchronous=normal", "foreign_keys=on"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str, password: str | None) -> AsyncEngine:
    if not re.match(r"postgres(ql)?://", url):
        raise ConfigError("traces.url: must be a postgresql:// URL; for SQLite, set traces.path instead")
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError("traces.url: PostgreSQL needs a driver: pip install 'spar-server[postgres]'") from error

    async def connect() -> Any:
        # The driver reads the URL itself: with libpq's parameters (sslmode, passfile) and variables (PGPASSFILE).
        return await asyncpg.connect(url, password=password, timeout=_WAIT_S)

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, hide_parameters=True)
