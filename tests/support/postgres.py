"""A real PostgreSQL server for tests, from Debian's package or the PATH."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

# PostgreSQL refuses to run as root.
_USER = "postgres"


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None if PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class Postgres:
    """A cluster in `folder`, which its server's user must be able to reach, on a free port of this machine."""

    def __init__(self, binaries: Path, folder: Path, *, password: str | None = None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._identity: dict[str, Any] = {"cwd": "/"}
        if os.getuid() == 0:
            self._identity |= {"user": _USER, "group": _USER, "extra_groups": ()}
            shutil.chown(folder, _USER, _USER)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._run("initdb", *self._auth(password), "--username=spar", "--no-sync", "--encoding=UTF8", "-D", self._data)

    @property
    def url(self) -> str:
        return f"postgresql://spar@127.0.0.1:{self._port}/postgres"

    def new_database(self) -> str:
        """The URL of an empty database; the server must run."""
        name = f"db{next(self._numbers)}"
        self._run("createdb", "--host=127.0.0.1", f"--port={self._port}", "--username=spar", name)
        return f"{self.url.rpartition('/')[0]}/{name}"

    def _auth(self, password: str | None) -> list[str | Path]:
        if password is None:
            return ["--auth=trust"]
        file = self._folder / "password"
        file.write_text(password)
        return ["--auth=scram-sha-256", "--pwfile", file]

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self._port), "-k", ""]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._identity
        )
        while subprocess.run(self._ready(), stdout=subprocess.DEVNULL, check=False).returncode:
            assert self._process.poll() is None, "PostgreSQL did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server at once, without a checkpoint or a word to its clients."""
        self._stop(signal.SIGQUIT)

    def freeze(self) -> None:
        """Stop answering without closing a connection."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._stop(signal.SIGQUIT)

    def _stop(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)
        self._process.wait(30)
        self._process = None

    def _signal_all(self, sent: signal.Signals) -> None:
        """The server's process, and those of its connections, which are its children."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, sent)

    def _ready(self) -> list[str]:
        return [str(self._binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port)]

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [str(self._binaries / program), *map(str, arguments)], capture_output=True, check=True, **self._identity
        )
