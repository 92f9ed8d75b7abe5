"""Where a run's models are answered from while a stage calls them: this process, or servers started by a command."""

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
from spar_training.inference.endpoint import ModelPlace

_ASK_EVERY_S: Final = 0.5
_STOP_WITHIN_S: Final = 30.0
_TOLD_LINES: Final = 15


@asynccontextmanager
async def served(model: Path | str, serving: Serving, *, name: str, logs: Path) -> AsyncIterator[ModelPlace]:
    """The model in the folder `model`, to be called under `name`; its servers end with the block, or when this
    process is killed.

    They write `logs/NAME-N.log`.

    Raises:
        BackendUnavailable: a server ended or was not ready in time, or the block's calls failed and one has ended;
            holds the end of its log.
        ConfigError: the command cannot be started.
    """
    if serving.engine == "embedded":
        yield ModelPlace(str(model))
        return
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_server(serving, str(model), name, number, port, logs / f"{name}-{number}.log"))
            for number, port in enumerate(_free_ports(serving.replicas))
        ]
        try:
            await _all_ready(servers, serving.ready_within_s)
            async with _causes_told(servers):
                yield ModelPlace(name, tuple(server.url for server in servers), serving.answer_within_s)
        finally:
            # All at once, before any is waited for.
            for server in servers:
                server.tell_to_end()


@asynccontextmanager
async def _causes_told(servers: Sequence[_Server]) -> AsyncIterator[None]:
    """Whoever calls a server that is gone does not know why; its log does."""
    try:
        yield
    except BackendError as error:
        # Its connections end before it does.
        await asyncio.sleep(_ASK_EVERY_S)
        if gone := [told for server in servers if (told := server.end_told())]:
            raise BackendUnavailable("\n".join([str(error), *gone])) from error
        raise


async def _all_ready(servers: Sequence[_Server], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    try:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.ready(session, deadline))
    except ExceptionGroup as errors:
        # One server's reason is enough.
        raise errors.exceptions[0] from None


class _Server:
    """One started server."""

    def __init__(self, process: Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = log
        self._end_by: float | None = None

    async def ready(self, session: aiohttp.ClientSession, deadline: float) -> None:
        while not await self._answers(session):
            if (code := self.process.poll()) is not None:
                raise BackendUnavailable(f"the server ended with {code} before it was ready\n{self._told()}")
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"the server was not ready in time (ready_within_s)\n{self._told()}")
            await asyncio.sleep(_ASK_EVERY_S)

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/models", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def tell_to_end(self) -> None:
        """Once: a second signal would mean at once."""
        if self._end_by is None:
            self._end_by = time.monotonic() + _STOP_WITHIN_S
            self._signal(signal.SIGTERM)

    def end_told(self) -> str | None:
        """How it ended, with the end of its log; None while it runs."""
        code = self.process.poll()
        return None if code is None else f"the server that the run started ended with {code}\n{self._told()}"

    def end(self) -> None:
        self.tell_to_end()
        assert self._end_by is not None
        try:
            self.process.wait(max(0.0, self._end_by - time.monotonic()))
        except TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()
        finally:
            if self.process.stdin:
                self.process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _told(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"{self._log}:", *lines[-_TOLD_LINES:]])


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
        raise ConfigError(f"serving: {error} in command or environment is none of {known}") from error
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise ConfigError(f"serving.command: {command[0]} cannot be started: no such command here, or not executable")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        # A group of its own, so that the workers which servers start end with them; on a leash, so that they all end
        # when this process is killed.
        process = Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(_STOP_WITHIN_S), *command],
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
        server.end()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        # All held before the first is let go, so that no two are the same.
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
