"""Completions on disk by a key of what was asked, in one SQLite file that survives the process."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final

from spar_core.errors import DataError
from spar_core.types import Completion, Usage

# A killed process loses at most so many completions; they are generated again.
_UNSAVED: Final = 128


class CompletionStore:
    """A context manager. Rows are written in groups, and all of them when it is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._unsaved = 0

    def __enter__(self) -> CompletionStore:
        """Open, or make, the file.

        Raises:
            DataError: the file is not a store, or cannot be opened.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS completions (key BLOB PRIMARY KEY, text TEXT NOT NULL,"
                " finish TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL)"
                " WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            self.__exit__(None, None, None)
            raise DataError(f"{self.path}: cannot be used as a store of completions ({error}); remove it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        db, self._db = self._db, None
        if db is None:
            return
        try:
            db.commit()
        except sqlite3.Error as problem:
            raise self._unwritable(problem) from problem
        finally:
            db.close()

    def find(self, key: bytes) -> Completion | None:
        assert self._db is not None
        query = "SELECT text, finish, prompt_tokens, completion_tokens FROM completions WHERE key = ?"
        row = self._db.execute(query, (key,)).fetchone()
        return Completion(row[0], row[1], Usage(row[2], row[3])) if row else None

    def keep(self, key: bytes, completion: Completion) -> None:
        """Write one completion down.

        Raises:
            DataError: it cannot be written, for one because the disk is full; what was written before is kept.
        """
        assert self._db is not None
        usage = completion.usage
        row = (key, completion.text, completion.finish_reason, usage.prompt_tokens, usage.completion_tokens)
        try:
            self._db.execute("INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, ?)", row)
            self._unsaved += 1
            if self._unsaved >= _UNSAVED:
                self._db.commit()
                self._unsaved = 0
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: sqlite3.Error) -> DataError:
        return DataError(f"{self.path}: cannot be written ({error}); make room and run again")
