"""Run a command as a user does: into pipes, or on a terminal that is typed into."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

PLAIN = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}
_GIVE_UP_S = 60.0
_ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")


def spar(*words: str, said: str = "", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `spar` with stdin, stdout and stderr as pipes."""
    command = [sys.executable, "-m", "spar_server.cli", *words]
    environment = {**PLAIN, **(env or {})}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, input=said, timeout=_GIVE_UP_S, check=False
    )


def on_a_terminal(*words: str, typed: Sequence[tuple[str, str]] = (), env: Mapping[str, str] | None = None) -> str:
    """What `spar` writes to a terminal. Each of `typed` is what to wait for on the screen, and what to type then."""
    terminal, inside = pty.openpty()
    environment = {**PLAIN, "TERM": "xterm", **(env or {})}
    command = [sys.executable, "-m", "spar_server.cli", *words]
    with subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment) as process:
        os.close(inside)
        screen, seen, waiting = "", 0, list(typed)
        give_up = time.monotonic() + _GIVE_UP_S
        # The end of a terminal whose other side is closed is an error.
        with suppress(OSError):
            while time.monotonic() < give_up:
                if waiting and (at := plain(screen).find(waiting[0][0], seen)) >= 0:
                    seen = at + len(waiting[0][0])
                    os.write(terminal, waiting.pop(0)[1].encode())
                if select.select([terminal], [], [], 0.1)[0]:
                    if not (piece := os.read(terminal, 65536)):
                        break
                    screen += piece.decode(errors="replace")
            else:
                process.kill()
        os.close(terminal)
    assert not waiting, f"{waiting[0][0]!r} never came:\n{plain(screen)}"
    return screen


def plain(screen: str) -> str:
    """A screen without colours and cursor movements."""
    return _ESCAPES.sub("", screen)
