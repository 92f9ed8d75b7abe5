"""The output file, which is also the journal: a request is done when its row is in it, on the disk.

A row is written in one piece and synced before it counts. What a killed process left half written is cut off when the
file is opened again; rows of failures that may pass are dropped then, so that their requests are made again.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

Row = Mapping[str, Any]
_START: Final = b'{"id": "batch_req_'
_PASSING: Final = frozenset({408, 409, 429})


class ResultsError(ValueError):
    """The output file cannot be used; the message says why, and what to do."""


class Results:
    """The rows of a batch, appended by any number of tasks. Only one process at a time can have a file open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Row] = []
        self._lock = asyncio.Lock()
        self._file = _open_locked(path)
        try:
            self._repair()
        except BaseException:
            os.close(self._file)
            raise

    def rows(self) -> Iterator[Row]:
        """The rows in the file."""
        with self._path.open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    async def append(self, row: Row) -> None:
        """Return when the row is on the disk. Rows that arrive meanwhile are written together."""
        self._waiting.append(row)
        async with self._lock:
            rows, self._waiting = self._waiting, []
            if rows:
                await asyncio.to_thread(_write, self._file, rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _repair(self) -> None:
        """Cut off a torn last row, and drop the rows of failures that may pass."""
        end, dropped = 0, False
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    if line[: len(_START)] != _START[: len(line)]:
                        raise self._not_results(number)
                    break
                end += len(line)
                dropped = self._may_pass(line, number) or dropped
        os.ftruncate(self._file, end)
        if dropped:
            self._rewrite()

    def _may_pass(self, line: bytes, number: int) -> bool:
        try:
            row = json.loads(line)
            if not line.startswith(_START) or not {"custom_id", "response", "error"} <= row.keys():
                raise self._not_results(number)
        except ValueError as error:
            raise self._not_results(number) from error
        return may_pass(row)

    def _not_results(self, number: int) -> ResultsError:
        return ResultsError(f"{self._path}: line {number} is not a batch's result; give another output file")

    def _rewrite(self) -> None:
        """Replace the file by one without the rows of failures that may pass: all at once, whatever happens."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        file = _open_locked(new)
        _write(file, [row for row in self.rows() if not may_pass(row)])
        new.replace(self._path)
        _sync_folder(self._path)
        os.close(self._file)
        self._file = file


def may_pass(row: Row) -> bool:
    """Whether a row is of a failure that may be over when its request is made again."""
    response = row["response"]
    if response is None:
        return bool(row["error"]["code"] == "timeout")
    status = response["status_code"]
    return bool(status >= 500 or status in _PASSING)


def _open_locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise ResultsError(f"{path}: another batch is writing to it") from error
    _sync_folder(path)
    return file


def _sync_folder(path: Path) -> None:
    """A new name in a folder is on the disk once the folder is synced."""
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(file: int, rows: Sequence[Row]) -> None:
    data = memoryview(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)
