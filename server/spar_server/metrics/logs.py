"""The server's log: one line per record on stderr, with time, level and request id, as plain text or JSON.

Of what clients and models write, only a request's path is logged, and never a key. Control characters are escaped, so
no text can forge a line or control a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from spar_core.backends.context import call_context

ACCESS: Final = "spar_server.access"
access_logger = logging.getLogger(ACCESS)

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {ord("\n"): "\\n"}
# A traceback keeps its line breaks.
_CONTROLS_IN_LINES: Final = {code: shown for code, shown in _CONTROLS.items() if code != ord("\n")}


def log_access(**fields: Any) -> None:
    """Log one line with these fields, in this order."""
    if not access_logger.isEnabledFor(logging.INFO):
        return
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    # Built here because `info` would first search the stack for its caller.
    record = access_logger.makeRecord(ACCESS, logging.INFO, __file__, 0, text, (), None, extra={"fields": fields})
    access_logger.handle(record)


class ConsoleFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO spar_server.access [request id] message`."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = call_context().request_id
        tag = f" [{request_id}]" if request_id else ""
        line = f"{_time(record)} {record.levelname} {record.name}{tag} {_printable(record.getMessage())}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info).translate(_CONTROLS_IN_LINES)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, request_id, then a message or the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] | None = getattr(record, "fields", None)
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": call_context().request_id,
            **(fields or {"message": record.getMessage()}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _printable(text: str) -> str:
    return text if text.isprintable() else text.translate(_CONTROLS)


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def set_up_logging(*, level: str, style: Literal["console", "json"], access: bool) -> None:
    """Log to stderr from `level` on. `access` switches the lines of requests, whatever the level."""
    # No line names thread, process or task, and looking them up costs each request a microsecond.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if hasattr(logging, "logAsyncioTasks"):
        logging.logAsyncioTasks = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    access_logger.setLevel(logging.INFO if access else logging.WARNING)
