"""Several worker processes on one port: start them, replace those that die, and pass signals on to them.

All workers accept connections from the same listening sockets. A connection that no worker has accepted yet is
therefore not lost when one of them dies.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Final

import typer

from spar_core.errors import ConfigError
from spar_server.metrics.workers import forget_gauges, shared_metrics
from spar_server.process.configuration import Configuration, Source, change_of
from spar_server.process.division import Share
from spar_server.process.shared_usage import SharedUsage
from spar_server.process.worker import STOP_AT_ONCE, Failed, Serving, Worker

logger = logging.getLogger(__name__)

# How often the files are looked at.
_EVERY_S: Final = 1.0
# A worker that dies within this time of its start is replaced after a pause, which doubles each time.
_SHORT_LIFE_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 30.0
# How long after the grace time a worker that does not end is killed.
_OVERDUE_S: Final = 10.0
_FORK: Final = multiprocessing.get_context("fork")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class _Place:
    """The place of a worker: the process in it, or when the next one starts."""

    index: int
    process: BaseProcess | None = None
    ready: Connection | None = None
    started_at: float = 0.0
    serves: bool = False
    has_served: bool = False
    failure: str | None = None
    pause_s: float = 0.0
    due_at: float = 0.0


class Supervisor:
    """Runs `configuration.settings.workers` workers, and calls `on_ready` with the pair's name when all of them serve.

    stopped_by = Supervisor(configuration, source, sockets, on_ready=print).run()
    """

    def __init__(
        self,
        configuration: Configuration,
        source: Source,
        sockets: Sequence[socket],
        *,
        on_ready: Callable[[str], None],
    ) -> None:
        self._configuration = configuration
        self._source = source
        self._sockets = sockets
        self._on_ready = on_ready
        count = configuration.settings.workers
        self._usage = SharedUsage(workers=count, keys=len(configuration.keyring or ()))
        self._places = [_Place(index) for index in range(count)]
        self._is_ready = False
        self._pair = ""
        # Set by the handlers of signals.
        self._stops: list[int] = []
        self._hangup = False
        # What the workers know of.
        self._stopping = 0
        self._kill_at = float("inf")
        self._failure: str | None = None

    def run(self) -> int:
        """Run until a signal stops the server; returns its number.

        Raises:
            ConfigError: the workers cannot start.
        """
        with closing(self._usage), shared_metrics() as folder, self._handling_signals() as wakeup:
            # The workers share the memory of what exists now, as long as nobody writes to it.
            gc.collect()
            gc.freeze()
            self._start_due()
            while any(place.process for place in self._places) or not self._stopping:
                wait(self._awaited(wakeup), timeout=_EVERY_S)
                _drain(wakeup)
                self._pass_signals_on()
                self._look_at_workers(folder)
                if not self._stopping:
                    self._read_again()
                    self._start_due()
                elif time.monotonic() > self._kill_at:
                    self._signal(signal.SIGKILL)
        if self._failure is not None:
            raise ConfigError(self._failure)
        return self._stops[0]

    @contextmanager
    def _handling_signals(self) -> Iterator[int]:
        """Note signals, and wake the loop up by a byte in the pipe whose reading end this yields."""

        def handle(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._hangup = True
            else:
                self._stops.append(number)

        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        earlier = {number: signal.getsignal(number) for number in _SIGNALS}
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if earlier[number] is not signal.SIG_IGN:
                signal.signal(number, handle)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in earlier.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _awaited(self, wakeup: int) -> list[int | Connection]:
        awaited: list[int | Connection] = [wakeup]
        for place in self._places:
            if place.process is not None:
                awaited.append(place.process.sentinel)
            if place.ready is not None:
                awaited.append(place.ready)
        return awaited

    def _start_due(self) -> None:
        for place in self._places:
            if place.process is None and time.monotonic() >= place.due_at:
                self._start(place)

    def _start(self, place: _Place) -> None:
        worker = Worker(
            Share(place.index, len(self._places)),
            self._configuration,
            self._source,
            self._usage,
            self._sockets,
            replaces=place.has_served,
        )
        place.ready, ready = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=worker.serve, args=(ready, os.getpid()), name=f"spar-worker-{place.index}")
        # A signal that came before the worker has its own handlers would be lost.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_SIGNALS, STOP_AT_ONCE})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        ready.close()
        place.process, place.serves, place.failure, place.started_at = process, False, None, time.monotonic()

    def _look_at_workers(self, folder: Path) -> None:
        for place in self._places:
            if place.ready is not None and place.ready.poll():
                self._hear_from(place)
            if place.process is not None and not place.process.is_alive():
                self._bury(place, folder)
        if not self._is_ready and all(place.serves for place in self._places):
            self._is_ready = True
            self._on_ready(self._pair)

    def _hear_from(self, place: _Place) -> None:
        assert place.ready is not None
        try:
            match place.ready.recv():
                case Serving(pair):
                    self._pair = pair
                    place.serves = place.has_served = True
                case Failed(reason):
                    place.failure = reason
        except EOFError:
            """It has died, which its sentinel tells."""
        place.ready.close()
        place.ready = None

    def _bury(self, place: _Place, folder: Path) -> None:
        """Clean up after a worker that has ended, and see to its replacement."""
        process, place.process, place.serves = place.process, None, False
        assert process is not None
        code, pid = process.exitcode or 0, process.pid
        process.close()
        if place.ready is not None:
            place.ready.close()
            place.ready = None
        forget_gauges(folder, place.index)
        self._usage.forget(place.index)
        if self._stopping:
            return
        if not self._is_ready:
            # What keeps one from starting keeps all of them.
            self._failure = self._failure or place.failure or f"a worker ended before it served: {_ending(code)}"
            self._stops.append(signal.SIGTERM)
            self._pass_signals_on()
            return
        now = time.monotonic()
        lived_long = now - place.started_at > _SHORT_LIFE_S
        place.pause_s = 0.0 if lived_long else min(_LAST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * place.pause_s))
        place.due_at = now + place.pause_s
        reason = place.failure or _ending(code)
        logger.error("worker %d (process %s) died: %s; another takes its place", place.index, pid, reason)

    def _pass_signals_on(self) -> None:
        if self._hangup:
            self._hangup = False
            self._signal(signal.SIGHUP)
            self._read()
        # A fourth signal is no more than a third.
        wanted = min(3, len(self._stops))
        if wanted == self._stopping:
            return
        if not self._stopping:
            # From now on only workers accept connections, as long as they do.
            for each in self._sockets:
                each.close()
            self._kill_at = time.monotonic() + self._configuration.settings.shutdown_grace_s + _OVERDUE_S
            if self._stops[0] == signal.SIGINT and wanted == 1:
                typer.echo("Stopping: waiting for running requests. Press Ctrl-C again to stop at once.", err=True)
        self._stopping = wanted
        self._signal(signal.SIGTERM if wanted == 1 else STOP_AT_ONCE)

    def _signal(self, number: int) -> None:
        for place in self._places:
            if place.process is not None and place.process.pid is not None:
                os.kill(place.process.pid, number)

    def _read_again(self) -> None:
        """Keep what a worker starts with as it is in the workers that run, which read their files themselves."""
        if self._source.has_changed():
            self._read()

    def _read(self) -> None:
        try:
            self._configuration = change_of(self._configuration, self._source.read()).configuration
        except ConfigError:
            """The workers refuse it too, and say so."""


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _drain(pipe: int) -> None:
    try:
        while os.read(pipe, 4096):
            pass
    except BlockingIOError:
        return
