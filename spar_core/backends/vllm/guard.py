"""What ends processes whose parent died without a word, as by `kill -9`: vLLM's core would live on with its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

# Its input ends when the parent does. vLLM's workers end by themselves when their core does.
_WATCH: Final = """
import contextlib, os, signal, sys
if sys.stdin.buffer.read() == b"":
    for pid in map(int, sys.argv[1:]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
"""


class Guard:
    """A small process that outlives this one just long enough to kill `pids`."""

    def __init__(self, pids: Sequence[int]) -> None:
        # In a session of its own: what is sent to this process's group must not take the guard away first.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, *map(str, pids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """There is nothing left to guard."""
        self._process.communicate(b"done")
