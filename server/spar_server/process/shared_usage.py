"""The usage of API keys, counted by several workers together, in memory that they share.

usage = SharedUsage(workers=2, keys=100)    # before the workers are forked
Quotas(usage=usage.of(worker))              # in each of them
usage.forget(worker)                        # when one has died
"""

from __future__ import annotations

import fcntl
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from struct import Struct
from typing import Final

from spar_server.auth.quotas import refilled

_LEAST_ROWS: Final = 1024
# Rows that are tried for a key before it shares one, which can only make its limits stricter.
_PROBES: Final = 64


class SharedUsage:
    """A table with a row for each key that has a limit: its digest, its bucket, and the searches of each worker.

    The lock is one of the file system, because it is released when a process is killed while it holds it.
    """

    def __init__(self, *, workers: int, keys: int) -> None:
        self._row = Struct(f"=16sdd{workers}i")
        self._bucket = Struct("=dd")
        self._count = Struct("=i")
        self._rows = max(_LEAST_ROWS, 4 * keys)
        self._memory = mmap.mmap(-1, self._rows * self._row.size)
        self._lock_file = tempfile.TemporaryFile()  # noqa: SIM115

    def close(self) -> None:
        """Free memory and lock; the workers have their own."""
        self._memory.close()
        self._lock_file.close()

    def of(self, worker: int) -> WorkerUsage:
        """The interface for a worker."""
        return WorkerUsage(self, worker)

    def forget(self, worker: int) -> None:
        """Forget the searches of a worker that has died."""
        with self.locked():
            for row in range(self._rows):
                self._count.pack_into(self._memory, self._count_at(row, worker), 0)

    @contextmanager
    def locked(self) -> Iterator[None]:
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def row(self, name: str) -> int:
        """The row of the key with this name; a new one at first. Call it `locked`."""
        digest = blake2b(name.encode(), digest_size=16).digest()
        first = int.from_bytes(digest[:8], "little") % self._rows
        for probe in range(_PROBES):
            row = (first + probe) % self._rows
            at = row * self._row.size
            found = self._memory[at : at + 16]
            if found == digest:
                return row
            if not any(found):
                # The time 0 was long ago, so its bucket is full.
                self._memory[at : at + 16] = digest
                return row
        return first

    def bucket(self, row: int) -> tuple[float, float]:
        """The level of a key's bucket, and when it was filled up to there."""
        level, filled_at = self._bucket.unpack_from(self._memory, row * self._row.size + 16)
        return level, filled_at

    def set_bucket(self, row: int, level: float, filled_at: float) -> None:
        self._bucket.pack_into(self._memory, row * self._row.size + 16, level, filled_at)

    def searches(self, row: int) -> int:
        """The searches of a key in all workers."""
        return sum(self._row.unpack_from(self._memory, row * self._row.size)[3:])

    def add_search(self, row: int, worker: int, change: int) -> None:
        at = self._count_at(row, worker)
        self._count.pack_into(self._memory, at, self._count.unpack_from(self._memory, at)[0] + change)

    def _count_at(self, row: int, worker: int) -> int:
        return row * self._row.size + 32 + worker * self._count.size


class WorkerUsage:
    """One worker's view: `spar_server.auth.quotas.Usage` for all workers together."""

    def __init__(self, table: SharedUsage, worker: int) -> None:
        self._table = table
        self._worker = worker

    def take(self, name: str, limit: int, now: float) -> float:
        with self._table.locked():
            row = self._table.row(name)
            level, filled_at = self._table.bucket(row)
            level = refilled(level, filled_at, limit, now)
            self._table.set_bucket(row, level - 1 if level >= 1 else level, now)
        return level

    def begin_search(self, name: str, limit: int) -> bool:
        with self._table.locked():
            row = self._table.row(name)
            has_room = self._table.searches(row) < limit
            if has_room:
                self._table.add_search(row, self._worker, 1)
        return has_room

    def end_search(self, name: str) -> None:
        with self._table.locked():
            self._table.add_search(self._table.row(name), self._worker, -1)
