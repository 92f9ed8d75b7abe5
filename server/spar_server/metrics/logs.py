"""The server's log: one line per record on stderr, with time, level and ids, as plain text or JSON.

Of what clients and models write, only a request's path is logged, and never a key. Control characters are escaped, so
no text can forge a line or control a terminal.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TextIO

from spar_core.backends.context import call_context, trace_id

_ACCESS: Final = "spar_server.access"
# How long a request's line may wait for others.
_BATCH_S: Final = 0.1
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {ord("\n"): "\\n"}
# A traceback keeps its line breaks.
_CONTROLS_IN_LINES: Final = {code: shown for code, shown in _CONTROLS.items() if code != ord("\n")}


class ConsoleFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO spar_server.access [request id, then trace id] message`."""

    def format(self, record: logging.LogRecord) -> str:
        line = _console_line(record.created, _ids(), record.levelname, record.name, record.getMessage())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info).translate(_CONTROLS_IN_LINES)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, request_id, trace_id, then a message or a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {"message": record.getMessage()}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _json_line(record.created, _ids(), record.levelname.lower(), record.name, entry)


class _Ids(NamedTuple):
    """The ids of the request that a line is about."""

    request_id: str | None
    trace_id: str | None


def _ids() -> _Ids:
    return _Ids(call_context().request_id, trace_id())


def _console_access(created: float, ids: _Ids, fields: Mapping[str, Any]) -> str:
    text = " ".join(map("%s=%s".__mod__, fields.items()))
    return _console_line(created, ids, "INFO", _ACCESS, text) + "\n"


def _json_access(created: float, ids: _Ids, fields: Mapping[str, Any]) -> str:
    return _json_line(created, ids, "info", _ACCESS, fields) + "\n"


def _console_line(created: float, ids: _Ids, level: str, logger: str, text: str) -> str:
    known = " ".join([each for each in ids if each])
    tag = f" [{known}]" if known else ""
    return f"{_time(created)} {level} {logger}{tag} {_printable(text)}"


def _json_line(created: float, ids: _Ids, level: str, logger: str, entry: Mapping[str, Any]) -> str:
    head = {"time": _time(created), "level": level, "logger": logger}
    return json.dumps({**head, **ids._asdict(), **entry}, default=str)


def _printable(text: str) -> str:
    return text if text.isprintable() else text.translate(_CONTROLS)


def _time(created: float) -> str:
    seconds = int(created)
    return f"{_second(seconds)}.{int((created - seconds) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


# The line of a request from its time, its ids and its fields.
AccessFormat = Callable[[float, _Ids, Mapping[str, Any]], str]


class AccessLog:
    """The lines of requests, which are formatted and written together every tenth of a second.

    It is not one of logging's loggers: a record and a write for each request would take a twentieth of the time of a
    request that is passed through.
    """

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._format: AccessFormat = _console_access
        self._waiting: list[tuple[float, _Ids, Mapping[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def enabled(self) -> bool:
        return self._stream is not None

    def open(self, stream: TextIO, line_format: AccessFormat) -> None:
        self._stream, self._format = stream, line_format

    def write(self, **fields: Any) -> None:
        """Log one line with these fields, in this order. Must be called in an event loop."""
        if self._stream is None:
            return
        self._waiting.append((time.time(), _ids(), fields))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_S, self.flush)

    def flush(self) -> None:
        """Write the lines that wait. A stream that has been closed ends the log, and nothing else."""
        waiting, self._waiting, self._timer = self._waiting, [], None
        if not waiting or self._stream is None:
            return
        try:
            self._stream.write("".join([self._format(*request) for request in waiting]))
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


access_log: Final = AccessLog()


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records at once, after the requests' lines before them."""

    def emit(self, record: logging.LogRecord) -> None:
        access_log.flush()
        super().emit(record)


def set_up_logging(*, level: str, style: Literal["console", "json"], access: bool) -> None:
    """Log to stderr from `level` on. `access` switches the lines of requests, whatever the level."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if access:
        access_log.open(sys.stderr, _json_access if style == "json" else _console_access)
        atexit.register(access_log.flush)
