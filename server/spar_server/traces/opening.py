"""Open the trace recorder that the settings describe."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final, cast

from spar_core.errors import ConfigError
from spar_core.plugins import Registry
from spar_server.auth.keyring import Keyring
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
    if not traces.record and not any(key.traces for key in keyring or ()):
        return None
    redact = find_redactor(traces.redact) if traces.redact else None
    store = _open_store(traces)
    return TraceRecorder(traces, store, metrics, usage_of=usage_of, redact=redact)


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
    try:
        from spar_server.traces.database import open_database
        from spar_server.traces.store import TraceStore
    except ModuleNotFoundError as error:
        extra = "postgres" if traces.url else "traces"
        raise ConfigError(
            f"traces.record: storing traces needs {error.name}: pip install 'spar-server[{extra}]'"
        ) from error
    return TraceStore(open_database(traces))
