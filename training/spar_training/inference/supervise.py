"""Run a command that ends with whoever started it, even when that one is killed: `python leash.py SECONDS COMMAND ...`.

The command has SECONDS to end well, then it is killed; at 0 it is killed at once.

Standard input must be a pipe whose other end the starter holds open; its end is the starter's. This process must lead a
group of its own, in which the command and what it starts stay. It ends as the command does, 128 + N for signal N.
Needs nothing but the standard library, so that it starts at once by any interpreter.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(stop_within_s: float, command: list[str]) -> int:
    """Run it; its status."""
    # The group is told to end as a whole. A handler, since to ignore it would be passed on to the command.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    let_go = threading.Event()
    watch = threading.Thread(target=_end_with_starter, args=(process, stop_within_s, let_go), daemon=True)
    watch.start()
    code = process.wait()
    if let_go.is_set():
        # Nobody else is left to end what the command may have started and not ended.
        watch.join()
    return code if code >= 0 else 128 - code


def _end_with_starter(process: subprocess.Popen[bytes], stop_within_s: float, let_go: threading.Event) -> None:
    # Not through `sys.stdin`, which must not be in use by a thread when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    let_go.set()
    if stop_within_s:
        os.killpg(0, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(stop_within_s)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:]))
