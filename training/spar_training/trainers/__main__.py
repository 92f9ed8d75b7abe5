"""Run one training job: `python -m spar_training.trainers JOB.json`, alone or under `accelerate launch -m`."""

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

# With less free space than this, in bytes, any failure is put down to the full disk.
_MIN_FREE_BYTES: Final = 1 << 20


def main(arguments: list[str]) -> int:
    """Run the job. An error of the `SparError` tree is printed as one line and written to a file for the launcher."""
    if len(arguments) != 1:
        print("usage: python -m spar_training.trainers JOB.json", file=sys.stderr)
        return 2
    if os.environ.get(LEASH):
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        job = load_job(Path(arguments[0]))
        # Only for a valid job: this loads torch and everything built on it.
        from spar_training.trainers.run import run

        try:
            print(f"The model is in {_run_with_room(run, job)}.")
        except SparError as error:
            # On a full disk the launcher falls back on the end of the log.
            with suppress(DataError):
                if job.work.is_dir():
                    kind = DataError if isinstance(error, _NoRoomError) else type(error)
                    write_json(job.work / FAILURE, {"error": kind.__name__, "message": str(error)})
            raise
    except SparError as error:
        with suppress(OSError):
            print(f"spar_training.trainers: {error}", file=sys.stderr)
        if isinstance(error, _NoRoomError):
            # The exit status is the only message left, and output that cannot be flushed would change it.
            os._exit(NO_ROOM)
        return 2
    return 0


class _NoRoomError(DataError):
    """The disk is full."""


def _run_with_room(run: Callable[[Job], Path], job: Job) -> Path:
    """The model's folder.

    Raises:
        _NoRoomError: the disk is full.
    """
    try:
        return run(job)
    except Exception as error:
        # Several libraries write here, each with errors of its own, and not all of them give the reason.
        full = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
        if full or (job.work.is_dir() and shutil.disk_usage(job.work).free < _MIN_FREE_BYTES):
            raise _NoRoomError(no_room(job)) from error
        raise


def _end_with_launcher() -> None:
    """End when the launcher does: nobody wants the model any more, and the same folder may be launched again."""
    # Not through `sys.stdin`, which no thread may be using when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
