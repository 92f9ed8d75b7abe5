"""A folder that one process works in at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spar_core.errors import DataError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, for the block; its `lock` file stays, with the id of the process that holds it.

    A process that ends lets go of it.

    Raises:
        DataError: another process holds it, or it cannot be written.
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
                f"{folder}: another process works in it; wait for that one or stop it, or give another --out"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
