"""A backend that caches completions in a file, so that equal calls are made once.

Exact if the backend's text is a function of chat, sampling and seed, as that of the embedded engine is up to
floating-point ties. A cached completion has the usage of the original call, so a search's usage is the same with and
without the cache.
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

# The most completions that a killed process loses; they are generated again.
_UNSAVED: Final = 128


class CompletionStore:
    """A file of completions, and a context manager. Rows are written in batches, the last one on exit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._unsaved = 0

    def __enter__(self) -> CompletionStore:
        """Open or create the file.

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

    def save(self, key: bytes, completion: Completion) -> None:
        """Save one completion.

        Raises:
            DataError: it cannot be written, for example because the disk is full; earlier rows are kept.
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

    Equal calls in flight at once are one call, which goes on for the others if one caller cancels. Sampled calls
    without a seed are never cached. `calls` counts all calls, `misses` those that `inner` made.
    """

    def __init__(self, inner: Backend, store: CompletionStore, *, identity: str) -> None:
        self._inner = inner
        self._store = store
        self._identity = identity
        self._running: dict[bytes, asyncio.Task[Completion]] = {}
        self.calls = 0
        self.misses = 0

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.calls += 1
        if sampling.temperature != 0 and sampling.seed is None:
            self.misses += 1
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
            self.misses += 1
            self._store.save(key, completion)
            return completion
        finally:
            del self._running[key]

    async def aclose(self) -> None:
        """Cancel running calls and close the inner backend."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._inner.aclose()


def call_key(identity: str, messages: Sequence[Message], sampling: Sampling) -> bytes:
    """The key of a call: equal for equal calls only. At temperature 0 the seed does not matter."""
    call = {
        "model": identity,
        "messages": [message.to_openai() for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": sampling.stop,
        "seed": None if sampling.temperature == 0 else sampling.seed,
        "extra": sampling.extra,
    }
    return hashlib.sha256(json.dumps(call, sort_keys=True, default=dict).encode()).digest()
