"""Asks a server for /health without pause, in a process of its own, and prints how long each answer took.

Usage: `python poller.py PORT PID`. Each line is `BEGAN WALL DELAY CPU`: when the request was sent (seconds of the
monotonic clock, which all processes share), how long its answer took, how much of that the poller and the server's loop
were ready to run but had to wait for a processor, and how much processor time the server used meanwhile.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

EVERY_S = 0.01
TIMEOUT_S = 60.0
# An address of its own, so that no limit on the attacker's connections holds for the poller.
ADDRESS = "127.0.0.77"


def processor_seconds(pid: int) -> float:
    """The processor time of all threads of a process, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may have ended since it was listed.
        with suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def waited_seconds(pid: int) -> float:
    """How long a process's first thread, which runs a server's loop, was ready to run while others ran."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def main(port: int, pid: int) -> None:
    own = os.getpid()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S, source_address=(ADDRESS, 0))
    while True:
        used, waited = processor_seconds(pid), waited_seconds(pid) + waited_seconds(own)
        began = time.monotonic()
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            # The server closes idle connections; a request that met this says nothing.
            connection.close()
            time.sleep(EVERY_S)
            continue
        wall = time.monotonic() - began
        waited = waited_seconds(own) + waited_seconds(pid) - waited
        print(f"{began:.6f} {wall:.6f} {waited:.6f} {processor_seconds(pid) - used:.6f}", flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main(int(sys.argv[1]), int(sys.argv[2]))
