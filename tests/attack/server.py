"""The server under attack: a real `spar serve` with API keys, watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# The secrets of one run. None of them may be seen in any answer or in the log.
KEYS: Final = {name: f"spar-secret-{name}-9f2c71" for name in ("mallory", "bob", "single")}
UPSTREAM_KEY: Final = "sk-upstream-secret-55aa10"
STARTS_WITHIN_S: Final = 300.0

_SETTINGS: Final = """
port = 0
model = "pair"
log_level = "{log_level}"
templates = "{templates}"
[actor]
url = "{url}"
model = "actor"
api_key = "{upstream_key}"
retries = 0
# On a busy machine the upstream is late to accept calls.
timeouts = {{ connect = 60 }}
[refiner]
url = "{url}"
model = "refiner"
api_key = "{upstream_key}"
retries = 0
# On a busy machine the upstream is late to accept calls.
timeouts = {{ connect = 60 }}
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a server is set up."""

    log_level: str = "warning"
    templates: str = "default"
    keyed: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of /health: when it was asked for, how long it took, and what passed meanwhile (see `poller`)."""

    began: float
    wall_s: float
    delay_s: float
    cpu_s: float

    @property
    def blocked_s(self) -> float:
        """How long the server kept its loop busy.

        On a busy machine an answer also takes as long as other processes run while its loop, or the poller, could. And
        a wait in which the server computes nothing at all, in no thread, is not its own doing.
        """
        return max(0.0, min(self.wall_s - self.delay_s, self.cpu_s))


@dataclass
class Server:
    """A running server."""

    pid: int
    port: int
    log: Path
    samples: list[Sample] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def resident_mb(self) -> float:
        return self._status("VmRSS")

    def peak_mb(self) -> float:
        """The most memory since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None, f"the server has ended; its log: {self.log.read_text()[-2000:]}"
        return int(match[1]) / 1024


def write_settings(folder: Path, upstream_url: str, setup: Setup) -> Path:
    """The settings file of a server; `single` is a key that may have one search at a time."""
    text = _SETTINGS.format(
        url=upstream_url, upstream_key=UPSTREAM_KEY, log_level=setup.log_level, templates=setup.templates
    )
    for name, secret in KEYS.items() if setup.keyed else ():
        digest = hashlib.sha256(secret.encode()).hexdigest()
        bound = "concurrent_searches = 1\n" if name == "single" else ""
        text += f'[[keys]]\nname = "{name}"\nsha256 = "{digest}"\n{bound}'
    file = folder / "spar.toml"
    file.write_text(text)
    return file


@contextlib.asynccontextmanager
async def running_server(
    folder: Path,
    upstream_url: str,
    setup: Setup = Setup(),
) -> AsyncIterator[Server]:
    """Serve until the context ends; a poller measures the server's loop all the while."""
    file, log = write_settings(folder, upstream_url, setup), folder / "server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPAR_")}
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spar_server.cli", "serve", "--config", str(file)),
            stdout=asyncio.subprocess.PIPE, stderr=stderr, env=environment, cwd=folder,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not (
                match := re.search(rb"ready on http://127.0.0.1:(\d+)", line := await process.stdout.readline())
            ):
                assert line, f"the server did not start: {log.read_text()[-2000:]}"
        server = Server(process.pid, int(match[1]), log)
        async with _polled(server):
            yield server
    finally:
        await _stop(process)


@contextlib.asynccontextmanager
async def _polled(server: Server) -> AsyncIterator[None]:
    poller = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("poller.py")), str(server.port), str(server.pid)),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def read() -> None:
        assert poller.stdout is not None
        async for line in poller.stdout:
            server.samples.append(Sample(*map(float, line.split())))

    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        reading.cancel()
        poller.kill()
        await poller.wait()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Stop a process at once: how the server stops in good order is not what is tried here."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()
