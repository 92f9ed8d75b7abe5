"""Asks a server for /health without pause, in a process of its own, and prints how long each answer took.

Usage: `python poller.py PORT PID`. Each line is `BEGAN WALL DELAY CPU`: when the request was sent (seconds of the
monotonic clock, which all processes share), how long its answer took, how much of that the poller and the server were
ready to run but had to wait for a processor, and how much processor time the server used meanwhile.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from contextlib import suppress

EVERY_S = 0.01
TIMEOUT_S = 60.0
# An address of its own, so that no limit on the attacker's connections holds for the poller.
ADDRESS = "127.0.0.77"

Times = dict[int, tuple[int, int]]


def thread_times(pid: int) -> Times:
    """How long each thread of a process ran, and how long it was ready to run while others ran, in nanoseconds."""
    times: Times = {}
    for task in map(int, os.listdir(f"/proc/{pid}/task")):
        # A thread may have ended since it was listed.
        with suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat") as file:
            ran, waited, _ = file.read().split()
            times[task] = int(ran), int(waited)
    return times


def processor_seconds(pid: int) -> float:
    """The processor time of all threads of a process, to the nanosecond."""
    return sum(ran for ran, _ in thread_times(pid).values()) / 1e9


def passed_seconds(before: Times, now: Times, pid: int) -> tuple[float, float, float]:
    """Of a process between two times: its processor time, the delay of its first thread, and the longest of another."""
    ran, first, others = 0, 0, 0
    for task, (ran_now, waited_now) in now.items():
        ran_before, waited_before = before.get(task, (0, 0))
        ran += ran_now - ran_before
        if task == pid:
            first = waited_now - waited_before
        else:
            others = max(others, waited_now - waited_before)
    return ran / 1e9, first / 1e9, others / 1e9


def main(port: int, pid: int) -> None:
    own = os.getpid()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S, source_address=(ADDRESS, 0))
    while True:
        before, own_before = thread_times(pid), thread_times(own)
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
        _, own_delay, _ = passed_seconds(own_before, thread_times(own), own)
        used, loop_delay, others_delay = passed_seconds(before, thread_times(pid), pid)
        # The loop, which is the first thread, waits too while a thread that holds the interpreter's lock waits for a
        # processor; how long it did cannot be seen from outside.
        delay = max(own_delay + loop_delay, others_delay)
        print(f"{began:.6f} {wall:.6f} {delay:.6f} {used:.6f}", flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main(int(sys.argv[1]), int(sys.argv[2]))
