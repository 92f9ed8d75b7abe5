"""A child process ends when its parent is killed, unless its guard was dismissed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# Parent and child hold the other end of its output; the guard does not.
PARENT = """
import subprocess, sys, time
from spar_core.backends.vllm.process import Guard
child = subprocess.Popen(["sleep", "600"])
guard = Guard([child.pid])
if sys.argv[1:]:
    guard.dismiss()
print(child.pid, flush=True)
time.sleep(600)
"""


def killed(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """A parent that was killed after its child got a guard, and the child's id."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    return parent, child


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent, _ = killed()
    # Its output ends when the last process that holds it ends.
    assert parent.communicate(timeout=60) == ("", None)


def test_a_dismissed_guard_ends_nothing() -> None:
    parent, child = killed("dismissed")
    with pytest.raises(subprocess.TimeoutExpired):
        parent.communicate(timeout=1)
    os.kill(child, signal.SIGKILL)
    parent.communicate(timeout=60)
