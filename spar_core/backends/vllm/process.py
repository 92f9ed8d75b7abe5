"""Starting vLLM so that nothing of it outlives this process, and so that it does not end before this process.

A signal to a whole group, such as Ctrl-C or a service manager's SIGTERM, would end vLLM's core at once, in the middle
of what this process still has to finish.
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


_T = TypeVar("_T")
# How often to look for the processes while vLLM starts.
_LOOK_S: Final = 0.1


def start_guarded(start: Callable[[], _T]) -> tuple[_T, Guard]:
    """What `start` makes, and the guard of the processes that it has started; when it fails, none is left."""
    before = set(multiprocessing.active_children())
    guard: Guard | None = None
    # A thread's signal mask goes to the processes that it starts; this process itself is to hear signals all along.
    with ThreadPoolExecutor(1, initializer=_deafen) as thread:
        starting = thread.submit(start)
        try:
            while not wait([starting], timeout=_LOOK_S).done:
                children = set(multiprocessing.active_children()) - before
                if children and guard is None:
                    guard = Guard([child.pid for child in children if child.pid is not None])
            made = starting.result()
            assert guard is not None, "vLLM started no process"
            return made, guard
        except BaseException:
            # Without its processes `start` ends too.
            for child in set(multiprocessing.active_children()) - before:
                child.kill()
            if guard is not None:
                guard.dismiss()
            raise


def _deafen() -> None:
    # Starting the tracker clears the mask of the thread that starts it; what runs already is not started again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
