"""Serve a model of a run while stages call it: in this process, or by servers that a command starts.

async with serve_model(folder, recipe.serving, name="small-actor", logs=logs) as endpoint:
    ...
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired
from typing import Final

import aiohttp

from spar_core.errors import BackendError, BackendUnavailable, ConfigError
from spar_training.inference import supervise
from spar_training.inference.config import Serving
from spar_training.inference.endpoint import ModelEndpoint

_POLL_S: Final = 0.5
_STOP_TIMEOUT_S: Final = 30.0
_LOG_LINES: Final = 15


@asynccontextmanager
async def serve_model(model: Path | str, serving: Serving, *, name: str, logs: Path) -> AsyncIterator[ModelEndpoint]:
    """Serve the model in the folder `model` under `name`. Servers end with the block, or when this process is killed.

    They log to `logs/NAME-N.log`.

    Raises:
        BackendUnavailable: a server ended or was not ready in time, or calls of the block failed and a server has
            ended; includes the end of its log.
        ConfigError: the command cannot be started.
    """
    if serving.engine == "embedded":
        yield ModelEndpoint(str(model))
        return
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_server(serving, str(model), name, number, port, logs / f"{name}-{number}.log"))
            for number, port in enumerate(_free_ports(serving.replicas))
        ]
        try:
            await _all_ready(servers, serving.ready_within_s)
            async with _explain_failures(servers):
                yield ModelEndpoint(name, tuple(server.url for server in servers), serving.answer_within_s)
        finally:
            # All at once, before waiting for any of them.
            for server in servers:
                server.terminate()


@asynccontextmanager
async def _explain_failures(servers: Sequence[_Server]) -> AsyncIterator[None]:
    """Add the reason from a server's log to the error of a call to a server that has ended."""
    try:
        yield
    except BackendError as error:
        # Its connections close before the process ends.
        await asyncio.sleep(_POLL_S)
        if reports := [report for server in servers if (report := server.end_report())]:
            raise BackendUnavailable("\n".join([str(error), *reports])) from error
        raise


async def _all_ready(servers: Sequence[_Server], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    try:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.wait_until_ready(session, deadline))
    except ExceptionGroup as errors:
        # The reason of one server is enough.
        raise errors.exceptions[0] from None


class _Server:
    """A started server."""

    def __init__(self, process: Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = log
        self._kill_at: float | None = None

    async def wait_until_ready(self, session: aiohttp.ClientSession, deadline: float) -> None:
        while not await self._answers(session):
            if (code := self.process.poll()) is not None:
                raise BackendUnavailable(f"the server ended with {code} before it was ready\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"the server was not ready in time (ready_within_s)\n{self._log_tail()}")
            await asyncio.sleep(_POLL_S)

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/models", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def terminate(self) -> None:
        """Ask the server to end, once: a second signal would make it end at once."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + _STOP_TIMEOUT_S
            self._signal(signal.SIGTERM)

    def end_report(self) -> str | None:
        """How the server ended, with the end of its log; None while it runs."""
        code = self.process.poll()
        return None if code is None else f"the server that the run started ended with {code}\n{self._log_tail()}"

    def stop(self) -> None:
        """Terminate the server and wait for its end; kill it when it takes too long."""
        self.terminate()
        assert self._kill_at is not None
        try:
            self.process.wait(max(0.0, self._kill_at - time.monotonic()))
        except TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()
        finally:
            if self.process.stdin:
                self.process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"{self._log}:", *lines[-_LOG_LINES:]])


@contextmanager
def _server(serving: Serving, model: str, name: str, replica: int, port: int, log: Path) -> Iterator[_Server]:
    first = replica * serving.gpus_per_replica
    gpus = ",".join(map(str, range(first, first + serving.gpus_per_replica)))
    fields = {"model": model, "name": name, "port": port, "replica": replica, "gpus": gpus}
    try:
        command = [part.format(**fields) for part in serving.command]
        environment = {key: value.format(**fields) for key, value in serving.environment.items()}
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{field}}}" for field in fields)
        raise ConfigError(
            f"serving: unknown field {error} in command or environment; the fields are {known}"
        ) from error
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise ConfigError(f"serving.command: {command[0]} cannot be started: not found, or not executable")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        # In a process group of its own, so that the server's workers end with it; supervised, so that all end when this
        # process is killed.
        process = Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(_STOP_TIMEOUT_S), *command],
            stdin=PIPE,
            stdout=out,
            stderr=STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    server = _Server(process, port, log)
    try:
        yield server
    finally:
        server.stop()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        # All are bound before the first is released, so that no two are the same.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
