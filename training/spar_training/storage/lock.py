"""Lock a folder for one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spar_core.errors import DataError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock `folder`, which is created if needed, while the block runs. Its `lock` file holds the process id and stays.

    The lock is released when the process ends, however it does.

    Raises:
        DataError: another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); give another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{folder}: another process is using it; wait for it or stop it, or give another --out"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
