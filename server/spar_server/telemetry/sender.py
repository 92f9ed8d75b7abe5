"""Hand records to the process that sends them, without waiting for it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from spar_server.telemetry.records import Greeting, line_of

logger = logging.getLogger(__name__)

# Lines that arrive within this time are written together.
_LINGER_S: Final = 0.2
# What may wait for the process; more is dropped.
_MAX_WAITING: Final = 16 * 2**20
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
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: asyncio.WriteTransport | None = None
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process, in the running event loop."""
        self._keeping = asyncio.create_task(self._keep_running())

    def send(self, line: bytes) -> None:
        """Queue a line. Must be called in the event loop."""
        if self._size + len(line) > _MAX_WAITING:
            self._on_drop(1)
            return
        self._lines.append(line)
        self._size += len(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._write)

    async def aclose(self) -> None:
        """Write what is queued, and wait shortly for the process to send it."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process, self._stop_s)

    def _write(self) -> None:
        lines, self._lines, self._size, self._timer = self._lines, [], 0, None
        if not lines:
            return
        if self._pipe is None or self._pipe.is_closing() or self._pipe.get_write_buffer_size() > _MAX_WAITING:
            self._on_drop(len(lines))
        else:
            self._pipe.write(b"".join(lines))

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
