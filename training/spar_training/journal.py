"""A journal of finished items: one JSON line each, appended as they finish, so that a killed run loses none of them.

Half a line, left by a process that was killed as it wrote, is cut off when the journal is opened. One process at a time
holds a journal.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from io import SEEK_END, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from spar_core.errors import DataError
from spar_training.files import Row, read_rows, to_line


class Journal:
    """Rows by their `id`, in the order in which they were finished. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self._file: FileIO | None = None

    def __enter__(self) -> Journal:
        """Open for appending, and read what is there.

        Raises:
            DataError: another process has it open, it cannot be written, or a line in it is damaged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a row that could not be written must not come after all when the file is closed.
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); make room and run again") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise DataError(f"{self.path}: another run is writing it; wait for that one or stop it") from error
        self._cut_torn_line(self._file)
        self.rows = {row["id"]: row for row in read_rows(self.path, needs=("id",))}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep one finished item. It survives the end of this process from here on.

        Raises:
            DataError: it cannot be written, for one because the disk is full; the rows before it are kept.
        """
        assert self._file is not None
        text = to_line(row)
        line = text.encode()
        whole = self._file.seek(0, SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            # What could be written of it; cutting needs no room.
            self._file.truncate(whole)
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); what is finished is kept, make room and run again"
            ) from error
        # As it was written, so that a run that is killed goes on with the same.
        self.rows[row["id"]] = json.loads(text)

    @staticmethod
    def _cut_torn_line(file: FileIO) -> None:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
