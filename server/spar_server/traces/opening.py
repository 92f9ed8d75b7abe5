"""Open the trace recorder that the settings describe, or check whether it could be."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final, cast

from spar_core.errors import ConfigError
from spar_core.plugins import Registry
from spar_server.auth.keyring import Keyring
from spar_server.errors import StoreError
from spar_server.metrics.traces import TraceMetrics
from spar_server.settings import Settings, TraceSettings
from spar_server.traces.document import Redactor, UsageOf
from spar_server.traces.recorder import TraceRecorder

if TYPE_CHECKING:
    from spar_server.traces.store import TraceStore

REDACTORS: Final[Registry[Redactor]] = Registry("spar.redactors", {}, kind="redactor")


def open_recorder(
    settings: Settings, keyring: Keyring | None, metrics: TraceMetrics, *, usage_of: UsageOf
) -> TraceRecorder | None:
    """The recorder, which is yet to be started; None if neither the settings nor any key has traces stored.

    Raises:
        ConfigError: the database cannot be used, its library is not installed, or there is no such redaction hook.
    """
    traces = settings.traces
    if not _stores(traces, keyring):
        return None
    redact = find_redactor(traces.redact) if traces.redact else None
    store = _open_store(traces)
    return TraceRecorder(traces, store, metrics, usage_of=usage_of, redact=redact)


async def find_problem(traces: TraceSettings, keyring: Keyring | None, *, batches: bool = False) -> str | None:
    """What keeps searches, or `batches`, from being stored and how to fix it, in one sentence; None if nothing does.

    Nothing is left behind: no file, which might belong to another user than the server's, and no table.
    """
    if not (batches or _stores(traces, keyring)):
        return None
    try:
        if traces.redact:
            find_redactor(traces.redact)
        require_libraries(traces, batches=batches)
        if traces.url is None and not traces.path.exists():
            return _folder_problem(traces.path.parent)
        store = _open_store(traces)
    except ConfigError as error:
        return str(error)
    try:
        await store.rehearse()
    except StoreError as error:
        if traces.url is None:
            return f"traces.path: {traces.path}: {error}; set it to a SQLite file of this version that can be written"
        return (
            f"traces.url: the database cannot be used: {error}; "
            "start it, correct the URL or the password, or let its user create tables"
        )
    finally:
        await store.aclose()
    return None


def _stores(traces: TraceSettings, keyring: Keyring | None) -> bool:
    return bool(traces.record) or any(key.traces for key in keyring or ())


def _folder_problem(folder: Path) -> str | None:
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return None
    return f"traces.path: {folder} is not a folder that can be written; set it to a file in one that is"


def find_redactor(name: str) -> Redactor:
    """The redaction hook of this name: an entry point of `spar.redactors`, or `module:function`.

    Raises:
        ConfigError: there is none, or it cannot be imported.
    """
    if ":" not in name:
        return REDACTORS.find(name)
    try:
        found = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"traces.redact: {name}: {error}; write module:function, importable by the server") from error
    if not callable(found):
        raise ConfigError(f"traces.redact: {name} is not a function")
    return cast(Redactor, found)


def _open_store(traces: TraceSettings) -> TraceStore:
    # Imported here because most servers store no traces, and may lack what these need.
    require_libraries(traces)
    from spar_server.traces.database import open_database
    from spar_server.traces.store import TraceStore

    return TraceStore(open_database(traces))


def require_libraries(traces: TraceSettings, *, batches: bool = False) -> None:
    """Raise ConfigError if a library for storing traces, or `batches` too, is not installed."""
    for name in ("sqlalchemy", "alembic", "aiosqlite", *(("python_multipart",) if batches else ())):
        if find_spec(name) is None:
            extra = "postgres" if traces.url else "traces"
            what = "batches.enabled: storing batches" if batches else "traces.record: storing traces"
            raise ConfigError(f"{what} needs {name}: pip install 'spar-server[{extra}]'")
