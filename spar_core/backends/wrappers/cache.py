"""A backend that makes equal calls once.

Exact where the backend's text is a function of what is asked: chat, sampling and seed. The embedded engine's is, up to
floating-point ties. A completion from the store has the usage of the call that made it, so a search's account is
that of a search without a store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.base import NonStreamingBackend
from spar_core.errors import DataError
from spar_core.types import Completion, Message, Sampling, Usage

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


class CachedBackend(NonStreamingBackend):
    """`inner` behind a store. `identity` names the weights, so that one store serves several models.

    Equal calls in flight at once are one call; one caller's cancellation leaves it to the others. A call without a
    seed that samples is never stored.
    """

    def __init__(self, inner: Backend, store: CompletionStore, *, identity: str) -> None:
        self._inner = inner
        self._store = store
        self._identity = identity
        self._running: dict[bytes, asyncio.Task[Completion]] = {}
        self.asked = 0
        self.made = 0

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.asked += 1
        if sampling.temperature != 0 and sampling.seed is None:
            self.made += 1
            return await self._inner.complete(messages, sampling)
        key = call_key(self._identity, messages, sampling)
        if (known := self._store.find(key)) is not None:
            return known
        if (running := self._running.get(key)) is None:
            running = asyncio.create_task(self._make(key, messages, sampling))
            self._running[key] = running
        return await asyncio.shield(running)

    async def _make(self, key: bytes, messages: Sequence[Message], sampling: Sampling) -> Completion:
        try:
            completion = await self._inner.complete(messages, sampling)
            self.made += 1
            self._store.keep(key, completion)
            return completion
        finally:
            del self._running[key]

    async def aclose(self) -> None:
        """Give up what is under way, and close the backend behind."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._inner.aclose()


def call_key(identity: str, messages: Sequence[Message], sampling: Sampling) -> bytes:
    """A key that two calls share if and only if the same is asked. Temperature 0 does not look at the seed."""
    asked = {
        "model": identity,
        "messages": [message.to_openai() for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": sampling.stop,
        "seed": None if sampling.temperature == 0 else sampling.seed,
        "extra": sampling.extra,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=dict).encode()).digest()
