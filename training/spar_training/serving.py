"""Where a run's models are answered from while a stage calls them: this process, or servers started by a command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import STDOUT, Popen, TimeoutExpired
from typing import Final

import aiohttp

from spar_core.errors import BackendUnavailable, ConfigError
from spar_training.executors.base import ModelPlace
from spar_training.recipe import Serving

_ASK_EVERY_S: Final = 0.5
_STOP_WITHIN_S: Final = 30.0
_TOLD_LINES: Final = 15


@asynccontextmanager
async def served(model: Path | str, serving: Serving, *, name: str, logs: Path) -> AsyncIterator[ModelPlace]:
    """The model in the folder `model`, to be called under `name`; its servers end with the block.

    They write `logs/NAME-N.log`.

    Raises:
        BackendUnavailable: a server ended or was not ready in time; holds the end of its log.
        ConfigError: the command cannot be started.
    """
    if serving.engine == "embedded":
        yield ModelPlace(str(model))
        return
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_server(serving, str(model), name, number, logs / f"{name}-{number}.log"))
            for number in range(serving.replicas)
        ]
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.ready(session, time.monotonic() + serving.ready_within_s))
        yield ModelPlace(name, tuple(server.url for server in servers))


class _Server:
    """One started server."""

    def __init__(self, process: Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = log

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

    def _told(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"{self._log}:", *lines[-_TOLD_LINES:]])


@contextmanager
def _server(serving: Serving, model: str, name: str, replica: int, log: Path) -> Iterator[_Server]:
    port = _free_port()
    fields = {"model": model, "name": name, "port": port, "replica": replica}
    try:
        command = [part.format(**fields) for part in serving.command]
        environment = {key: value.format(**fields) for key, value in serving.environment.items()}
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(f"serving.command: {error} is none of {{model}}, {{name}}, {{port}}, {{replica}}") from error
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        try:
            # A group of its own, so that the workers which servers start end with them.
            process = Popen(
                command, stdout=out, stderr=STDOUT, env={**os.environ, **environment}, start_new_session=True
            )
        except OSError as error:
            raise ConfigError(f"serving.command: {command[0]} cannot be started ({error.strerror})") from error
    try:
        yield _Server(process, port, log)
    finally:
        _stop(process)


def _stop(process: Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_WITHIN_S)
    except TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
