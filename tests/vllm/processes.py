"""Real servers as processes of their own, each the head of a group that is killed whole."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "spar_core" / "models"
# One thread for each server, and little memory: several run side by side.
FRUGAL = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    # vLLM compiles what ranks log probabilities when it is first asked for some: most of a minute for nothing here.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
KV_BYTES = 64 * 2**20
# An engine imports torch in three processes; on a busy machine that takes its time.
START_S = 400.0


class Server:
    """A process that answers on `url` once `wait` has returned. What it says is in `log`."""

    def __init__(self, command: Sequence[str], url: str, log: Path) -> None:
        self.url = url
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.log.parent,
                env={**os.environ, **FRUGAL},
            )

    def wait(self) -> None:
        """Until it is healthy."""
        assert self._process is not None
        end = time.monotonic() + START_S
        while not self._healthy():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}:\n{self.told()}"
            assert time.monotonic() < end, f"it did not start:\n{self.told()}"
            time.sleep(0.2)

    def _healthy(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        return False

    def kill(self) -> None:
        """At once, with every process of its group."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def ask_to_end(self) -> int:
        """SIGTERM to the process alone; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]


def vllm_server(folder: Path, name: str, model: Path, *flags: str) -> Server:
    """vLLM's own OpenAI server; not started yet."""
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", name,
        "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "512", "--enforce-eager",
        "--kv-cache-memory-bytes", str(KV_BYTES), *flags,
    ]  # fmt: skip
    return Server(command, f"http://127.0.0.1:{port}", folder / f"{name}-{port}.log")


@contextmanager
def spar_serve(folder: Path, *flags: str) -> Iterator[Server]:
    """`spar serve`, started and healthy; killed at the end if it still runs."""
    port = free_port()
    command = [sys.executable, "-m", "spar_server.cli", "serve", "--port", str(port), *flags]
    server = Server(command, f"http://127.0.0.1:{port}", folder / f"spar-{port}.log")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def metric(url: str, name: str) -> float:
    """The sum of a metric's samples."""
    text = httpx.get(f"{url}/metrics", timeout=10).text
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def group(pid: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = stat.read_text().rsplit(") ", 1)[1].split()[:3]
            if int(of_group) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def until(came_true: Callable[[], bool], seconds: float) -> None:
    """Wait for what must come true soon enough."""
    end = time.monotonic() + seconds
    while not came_true():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        time.sleep(0.05)
