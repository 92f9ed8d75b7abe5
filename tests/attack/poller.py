"""Asks a server for /health without pause, in a process of its own, and prints how long each answer took.

Usage: `python poller.py PORT PID`. Each line is `BEGAN WALL CPU`: when the request was sent (seconds of the monotonic
clock, which all processes share), how long its answer took, and how much processor time the server used meanwhile.
"""

from __future__ import annotations

import http.client
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


def main(port: int, pid: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S, source_address=(ADDRESS, 0))
    while True:
        began, used = time.monotonic(), processor_seconds(pid)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            # The server closes idle connections; a request that met this says nothing.
            connection.close()
            time.sleep(EVERY_S)
            continue
        wall = time.monotonic() - began
        print(f"{began:.6f} {wall:.6f} {processor_seconds(pid) - used:.6f}", flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main(int(sys.argv[1]), int(sys.argv[2]))
