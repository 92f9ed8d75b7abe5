"""Run a command, and kill all processes that it leaves behind, in any session: `python reaper.py COMMAND ...`.

On Linux, orphans become children of this process, which kills them when the command has ended or when it receives
SIGTERM itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36  # from <linux/prctl.h>


def main(command: list[str]) -> int:
    """Run the command and return its exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _exit)
    try:
        return subprocess.Popen(command).wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _kill_children()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _kill_children() -> None:
    """Kill the children until there are none; the children of killed processes become this process's."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(ChildProcessError):
        while True:
            for child in children.read_text(encoding="ascii").split():
                os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
