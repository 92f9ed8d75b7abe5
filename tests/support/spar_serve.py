"""A real `spar serve` on a free port, from a file of settings that a test can rewrite.

with spar_serve(tmp_path, settings) as server:
    server.configure(other_settings)
    server.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in server.log)
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

# Longer than anything takes, however busy the machine.
PATIENCE_S: Final = 240.0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def upstream_settings(role: str, url: str, **more: Any) -> str:
    """The settings of a model behind a URL, as TOML."""
    lines = [f"[{role}]", f'url = "{url}"', f'model = "{role}"', *(f"{name} = {value}" for name, value in more.items())]
    return "\n".join(lines) + "\n"


@dataclass
class SparServe:
    process: subprocess.Popen[str]
    url: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    @property
    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").text

    def metric(self, series: str) -> float:
        """The value of a series, which may have labels; 0 if there is none."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.metrics, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def configure(self, settings: str, file: str = "spar.toml") -> None:
        """Replace a file as a whole."""
        new = self.folder / f"{file}.new"
        new.write_text(settings)
        new.replace(self.folder / file)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ask(self, key: str = "", text: str = "hello", **body: Any) -> httpx.Response:
        content = {"model": "pair", "messages": [{"role": "user", "content": text}], **body}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(f"{self.url}/v1/chat/completions", json=content, headers=headers, timeout=PATIENCE_S)

    @property
    def workers(self) -> list[int]:
        """The processes that the server has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stopped(self) -> int:
        """Stop it with SIGTERM and wait for its end; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def spar_serve(folder: Path, settings: str, *flags: str, **variables: str) -> Iterator[SparServe]:
    (folder / "spar.toml").write_text(settings)
    command = [sys.executable, "-m", "spar_server.cli", "serve", "--port", "0", "--model", "pair", *flags]
    with (folder / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"SPAR_LOG_LEVEL": "info", "SPAR_ACCESS_LOG": "false"} | variables,
        )
        assert process.stdout is not None
        try:
            ready = re.match(r"SPaR Server is ready on (\S+)", process.stdout.readline())
            assert ready, (folder / "stderr.txt").read_text()
            yield SparServe(process, ready[1], folder)
        finally:
            process.kill()
            process.communicate()
