"""Hand records to the process that sends them, without waiting for it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from spar_server.telemetry.records import Greeting, Line, line_of

logger = logging.getLogger(__name__)

# Requests that end within this time are written together, as soon as they are many: alone each would cost three times
# as much.
_LINGER_S: Final = 1.0
_MANY: Final = 200
# How many requests may wait to be written, and how many bytes for the process to read; more is dropped.
_MAX_QUEUED: Final = 10_000
_MAX_WAITING: Final = 16 * 2**20
# How long the event loop is held by writing before others have their turn.
_TURN_S: Final = 0.002
_RESTART_S: Final = 10.0
# How much longer than it gives itself the process is waited for.
_SPARE_S: Final = 1.0


class Sender:
    """A pipe to the process. Lines that it does not take are dropped and counted; a process that ended is restarted."""

    def __init__(self, greeting: Greeting, environment: Mapping[str, str], on_drop: Callable[[int], None]) -> None:
        self._greeting = line_of(greeting)
        self._stop_s = greeting["flush_s"] + _SPARE_S
        self._environment = environment
        self._on_drop = on_drop
        self._requests: deque[Line] = deque()
        self._timer: asyncio.Handle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: asyncio.WriteTransport | None = None
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process, in the running event loop."""
        self._keeping = asyncio.create_task(self._keep_running())

    def send(self, request: Line) -> None:
        """Queue a request. Must be called in the event loop."""
        if len(self._requests) >= _MAX_QUEUED:
            self._on_drop(1)
            return
        self._requests.append(request)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._write)
        elif len(self._requests) == _MANY:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_soon(self._write)

    async def aclose(self) -> None:
        """Write what is queued, and wait shortly for the process to send it."""
        if self._timer is not None:
            self._timer.cancel()
        while self._requests:
            self._write()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process, self._stop_s)

    def _write(self) -> None:
        """Write as many requests as a turn allows, and the others in turns of their own."""
        self._timer, requests, until = None, self._requests, time.monotonic() + _TURN_S
        if self._pipe is None or self._pipe.is_closing() or self._pipe.get_write_buffer_size() > _MAX_WAITING:
            if requests:
                self._on_drop(len(requests))
                requests.clear()
            return
        lines: list[bytes] = []
        while requests:
            lines.append(requests.popleft().line())
            if time.monotonic() > until:
                break
        self._pipe.write(b"".join(lines))
        if requests:
            self._timer = asyncio.get_running_loop().call_soon(self._write)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            command = (sys.executable, "-m", "spar_server.telemetry.exporter")
            process = self._process = await asyncio.to_thread(_start, command, dict(self._environment))
            ended = asyncio.Event()
            pipe, _ = await loop.connect_write_pipe(partial(_Watch, ended), process.stdin)
            pipe.write(self._greeting)
            self._pipe = pipe
            await ended.wait()
            self._pipe = None
            process.kill()
            status = await asyncio.to_thread(process.wait)
            logger.warning("the process that sends telemetry ended (%d); it is started again", status)
            await asyncio.sleep(_RESTART_S)


class _Watch(asyncio.BaseProtocol):
    """Says when the pipe is lost."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return
    process.kill()
    process.wait()
