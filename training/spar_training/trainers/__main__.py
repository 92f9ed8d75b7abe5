"""`python -m spar_training.trainers JOB.json`, alone or under `accelerate launch -m`."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from spar_core.errors import DataError, SparError
from spar_training.storage.files import write_json
from spar_training.trainers.job import Job, load_job
from spar_training.trainers.launch import FAILURE, LEASH, NO_ROOM, no_room

# Bytes: less is no room, whatever else went wrong for want of it.
_LITTLE: Final = 1 << 20


def main(arguments: list[str]) -> int:
    """Run the job; an error of this project's own is one line, and a file for whoever launched it."""
    if len(arguments) != 1:
        print("usage: python -m spar_training.trainers JOB.json", file=sys.stderr)
        return 2
    if os.environ.get(LEASH):
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        job = load_job(Path(arguments[0]))
        # After the job is known to be well: this loads torch and all that is built on it.
        from spar_training.trainers.run import run

        try:
            print(f"The model is in {_with_room(run, job)}.")
        except SparError as error:
            # Where the disk is full, the log's end has to do.
            with suppress(DataError):
                if job.work.is_dir():
                    kind = DataError if isinstance(error, _NoRoomError) else type(error)
                    write_json(job.work / FAILURE, {"error": kind.__name__, "message": str(error)})
            raise
    except SparError as error:
        with suppress(OSError):
            print(f"spar_training.trainers: {error}", file=sys.stderr)
        if isinstance(error, _NoRoomError):
            # Neither a file nor the log could tell it, and an output that cannot be flushed would change the status.
            os._exit(NO_ROOM)
        return 2
    return 0


class _NoRoomError(DataError):
    """The disk is full."""


def _with_room(run: Callable[[Job], Path], job: Job) -> Path:
    """The model's folder.

    Raises:
        _NoRoomError: the disk is full.
    """
    try:
        return run(job)
    except Exception as error:
        # Of several libraries, each with an error of its own, and not each of which says why.
        full = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
        if full or (job.work.is_dir() and shutil.disk_usage(job.work).free < _LITTLE):
            raise _NoRoomError(no_room(job)) from error
        raise


def _end_with_launcher() -> None:
    """A launcher that is gone wants no model any more, and may be started again for the same folder."""
    # Not through `sys.stdin`, which must not be in use by a thread when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
