"""Start vLLM so that its processes neither outlive this process nor end before it.

A signal to the whole process group, such as Ctrl-C or a service manager's SIGTERM, would end vLLM's core at once, while
this process still has requests to finish.
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing import resource_tracker
from typing import Final, TypeVar

# Its standard input ends when the parent does. vLLM's workers end by themselves when their core does.
_WATCH: Final = """
import contextlib, os, signal, sys
if sys.stdin.buffer.read() == b"":
    for pid in map(int, sys.argv[1:]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
"""


class Guard:
    """A small process that outlives this one only to kill `pids`."""

    def __init__(self, pids: Sequence[int]) -> None:
        # In its own session, so that a signal to this process's group does not end the guard first.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, *map(str, pids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """End the guard without killing anything."""
        self._process.communicate(b"done")


_T = TypeVar("_T")
# The interval at which vLLM's new processes are looked for.
_POLL_S: Final = 0.1


def start_guarded(start: Callable[[], _T]) -> tuple[_T, Guard]:
    """The result of `start`, and a guard of the processes that it started; if it fails, none of them is left."""
    before = set(multiprocessing.active_children())
    guard: Guard | None = None
    # Processes inherit the signal mask of the thread that starts them; this process itself still receives signals.
    with ThreadPoolExecutor(1, initializer=_block_signals) as thread:
        starting = thread.submit(start)
        try:
            while not wait([starting], timeout=_POLL_S).done:
                children = set(multiprocessing.active_children()) - before
                if children and guard is None:
                    guard = Guard([child.pid for child in children if child.pid is not None])
            result = starting.result()
            assert guard is not None, "vLLM started no process"
            return result, guard
        except BaseException:
            # Without its processes `start` ends as well.
            for child in set(multiprocessing.active_children()) - before:
                child.kill()
            if guard is not None:
                guard.dismiss()
            raise


def _block_signals() -> None:
    # Started first, because starting the tracker later would clear the mask of this thread.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
