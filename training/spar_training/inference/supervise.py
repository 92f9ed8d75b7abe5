"""Run a command that ends with its parent, even if that is killed: `python supervise.py SECONDS COMMAND ...`.

The command gets SECONDS to shut down before it is killed; with 0 it is killed at once.

Standard input must be a pipe that the parent holds open; it closes when the parent ends. This process must lead its own
process group, and the command and its children must stay in it. The exit status is that of the command, 128 + N for
signal N. Uses the standard library only, so that it starts fast in any interpreter.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(stop_within_s: float, command: list[str]) -> int:
    """Run the command; returns its exit status."""
    # The whole group gets SIGTERM. Not ignored but handled, since the command would inherit that.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    orphaned = threading.Event()
    watch = threading.Thread(target=_end_with_parent, args=(process, stop_within_s, orphaned), daemon=True)
    watch.start()
    code = process.wait()
    if orphaned.is_set():
        # Nobody else is left to end the children of the command.
        watch.join()
    return code if code >= 0 else 128 - code


def _end_with_parent(process: subprocess.Popen[bytes], stop_within_s: float, orphaned: threading.Event) -> None:
    # Not through `sys.stdin`, which no thread may be using when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    orphaned.set()
    if stop_within_s:
        os.killpg(0, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(stop_within_s)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:]))
