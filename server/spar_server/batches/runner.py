"""Run batches: read their input, make their requests, and write their files.

    runner.start(expires=True)
    runner.wake()                   # a batch was created or cancelled
    await runner.aclose()

What is done is in the database before the next step, so another process goes on where one has died. A request whose
answer was not stored by then is made again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import Any, Final, Protocol, TypeVar

from spar_core.off_loop import SHORT
from spar_server.batches.calls import Answer
from spar_server.batches.files import FileStore, FileWriter
from spar_server.batches.input import CheckModel, InputReader
from spar_server.batches.output import answered_line, unanswered_line
from spar_server.batches.store import BatchLine, BatchStore, Status, StoredBatch
from spar_server.errors import LeaseLostError, StoreError, StoreRefusedError
from spar_server.http.json_route import read_json
from spar_server.metrics.batches import BatchMetrics
from spar_server.settings import ApiKey, Settings
from spar_server.traces.database import Database
from spar_server.traces.schema import PIECE

logger = logging.getLogger(__name__)

_LEASE_S: Final = 30.0
_RENEW_S: Final = 5.0
# How often batches of other processes are looked for.
_POLL_S: Final = 5.0
_EXPIRE_EVERY_S: Final = 60.0
# Bytes of the input that are read at once, and rows that are written at once.
_READ: Final = PIECE
_INSERT_ROWS: Final = 500
_PAGE: Final = 100
# Of an outcome, which can be long.
_OUTCOME_PAGE: Final = 16
# After a failure: doubled from the first pause up to the last.
_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 30.0
# How often a request is made whose upstream fails. One that is refused for lack of room is made until there is some.
_MAX_TRIES: Final = 5
_ROOM_EVERY_S: Final = 0.25
_STOP_S: Final = 5.0
T = TypeVar("T")


class Server(Protocol):
    """The server that batches are run on."""

    @property
    def settings(self) -> Settings: ...

    @property
    def is_busy(self) -> bool:
        """Whether other requests wait, which go first."""
        ...

    @property
    def is_stopping(self) -> bool: ...

    def find_key(self, name: str) -> ApiKey | None: ...

    def check_model(self, key: ApiKey) -> CheckModel: ...

    def post(self, path: str, body: bytes, key: ApiKey) -> Awaitable[Answer]: ...


@dataclass(slots=True)
class _Lines:
    """The requests of a batch that are to be made, each given to one of several tasks."""

    fetch: Callable[[int], Awaitable[list[BatchLine]]]
    _ready: deque[BatchLine] = field(default_factory=deque)
    _last: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self) -> BatchLine | None:
        async with self._lock:
            if not self._ready:
                self._ready.extend(await self.fetch(self._last))
                if not self._ready:
                    return None
                self._last = self._ready[-1].number
            return self._ready.popleft()


class BatchRunner:
    """Runs the batches that this process has claimed, one of each key at a time."""

    def __init__(
        self, server: Server, database: Database, files: FileStore, store: BatchStore, metrics: BatchMetrics
    ) -> None:
        self._server = server
        self._database = database
        self._files = files
        self._store = store
        self._owner = token_hex(16)
        self._wanted = asyncio.Event()
        self._slots = asyncio.Semaphore(server.settings.batches.concurrency)
        self._loops: list[asyncio.Task[None]] = []
        self._running: dict[str, tuple[StoredBatch, asyncio.Task[None]]] = {}
        self._failing = False
        self._metrics = metrics
        metrics.watch(lambda: len(self._running))

    def start(self, *, expires: bool) -> None:
        """Start to run batches, and if it `expires` them deleting what is old, in tasks of the running event loop."""
        self._loops = [asyncio.create_task(self._run_on())]
        if expires:
            self._loops.append(asyncio.create_task(self._expire_on()))

    def wake(self) -> None:
        """Look for batches now."""
        self._wanted.set()

    async def aclose(self) -> None:
        """Stop; requests without an answer are made again, by whichever process runs their batch next."""
        await _cancel(*self._loops)
        batches = [batch for batch, _ in self._running.values()]
        await _cancel(*(task for _, task in self._running.values()))
        await asyncio.gather(*map(self._release, batches))
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._database.aclose()

    async def _run_on(self) -> None:
        while True:
            try:
                await self._database.open()
                while not self._server.is_stopping and (batch := await self._store.claim(self._owner, _LEASE_S)):
                    task = asyncio.create_task(self._hold(batch))
                    self._running[batch.id] = batch, task
                    task.add_done_callback(partial(self._ended, batch.id))
                self._failing = False
                self._metrics.up(True)
            except StoreError as error:
                self._fail(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._wanted.wait()
            self._wanted.clear()

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        self._running.pop(id)
        # The key's next batch may begin.
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a batch was given up by this process", exc_info=error)

    def _fail(self, error: Exception) -> None:
        if not self._failing:
            logger.warning("batches cannot be run (%s); trying again until they can", error)
        self._failing = True
        self._metrics.up(False)

    async def _hold(self, batch: StoredBatch) -> None:
        """Run the batch while this process owns it."""
        work = asyncio.create_task(self._run(batch))
        stoppable = batch.status in ("validating", "in_progress")
        until = time.monotonic() + _LEASE_S
        try:
            while time.monotonic() < until:
                await asyncio.wait({work}, timeout=_RENEW_S)
                if work.done():
                    await work
                    break
                with suppress(StoreError):
                    status = await self._store.renew(batch.id, self._owner, _LEASE_S)
                    until = time.monotonic() + _LEASE_S
                    if stoppable and (status == "cancelling" or time.time() >= batch.expires):
                        stoppable = False
                        await _cancel(work)
                        work = asyncio.create_task(self._stop(batch))
        except LeaseLostError:
            logger.info("batch %s is run by another process, or has ended", batch.id)
        finally:
            await _cancel(work)
        await self._release(batch)

    async def _stop(self, batch: StoredBatch) -> None:
        await self._finish(await self._reread(batch))

    async def _release(self, batch: StoredBatch) -> None:
        """Let another process have the batch. After an error nobody may, until the lease is over."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._store.release(batch.id, self._owner)

    async def _reread(self, batch: StoredBatch) -> StoredBatch:
        found = await self._persist(partial(self._store.get, batch.id, batch.key))
        if found is None:
            raise LeaseLostError(batch.id)
        return found

    async def _run(self, batch: StoredBatch) -> None:
        key = self._server.find_key(batch.key)
        if key is None:
            error = {"code": "key_not_found", "line": None, "message": "the batch's API key is gone", "param": None}
            await self._finish(batch, "failed", [error])
            return
        if batch.status == "validating":
            if errors := await self._validate(batch, key):
                await self._finish(batch, "failed", errors)
                return
            batch = await self._reread(batch)
        if batch.status == "in_progress":
            await self._answer_all(batch, key)
        await self._stop(batch)

    async def _validate(self, batch: StoredBatch, key: ApiKey) -> list[dict[str, Any]]:
        """Read the input file; returns what is wrong with it, and otherwise has its requests stored."""
        settings = self._server.settings
        reader = InputReader(
            batch.endpoint,
            check_model=self._server.check_model(key),
            max_lines=settings.batches.max_lines,
            max_bytes=settings.limits.max_body_bytes,
            max_values=settings.limits.max_body_values,
        )
        # An earlier attempt may have stored some.
        await self._persist(partial(self._store.drop_lines, batch.id))
        file = await self._persist(partial(self._files.get, batch.input_file, batch.key))
        if file is None:
            return [{"code": "file_not_found", "line": None, "message": "the input file is gone", "param": None}]
        total = 0
        for start in range(0, file.size, _READ):
            piece = await self._persist(partial(self._files.read, file.id, start, min(_READ, file.size - start)))
            total += await self._add_lines(batch, await asyncio.to_thread(reader.feed, piece))
            if reader.is_full:
                return reader.errors
        total += await self._add_lines(batch, await asyncio.to_thread(reader.close))
        if not reader.errors and not total:
            return [{"code": "empty_file", "line": None, "message": "the input file has no request", "param": None}]
        if not reader.errors:
            await self._persist(partial(self._store.start, batch.id, self._owner, total))
        return reader.errors

    async def _add_lines(self, batch: StoredBatch, lines: list[BatchLine]) -> int:
        for first in range(0, len(lines), _INSERT_ROWS):
            rows = lines[first : first + _INSERT_ROWS]
            await self._persist(partial(self._store.add_lines, batch.id, self._owner, rows))
        return len(lines)

    async def _answer_all(self, batch: StoredBatch, key: ApiKey) -> None:
        lines = _Lines(lambda last: self._persist(partial(self._store.unanswered, batch.id, after=last, limit=_PAGE)))

        async def answer_some() -> None:
            while time.time() < batch.expires and (line := await lines.take()) is not None:
                await self._answer(batch, line, key)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._server.settings.batches.concurrency):
                    group.create_task(answer_some())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _answer(self, batch: StoredBatch, line: BatchLine, key: ApiKey) -> None:
        raw = await self._persist(partial(self._files.read, batch.input_file, line.start, line.length))
        body = await asyncio.to_thread(_body_of, raw) if len(raw) > SHORT else _body_of(raw)
        answer = await self._ask(batch.endpoint, body, key)
        output = answered_line(batch.id, line, answer)
        failed = answer.status >= 400
        await self._persist(
            partial(self._store.record, batch.id, self._owner, line.number, failed=failed, output=output)
        )
        self._metrics.answered(failed=failed)

    async def _ask(self, path: str, body: bytes, key: ApiKey) -> Answer:
        """The answer to a request, which is made again after failures that may pass."""
        pause_s, tries = _FIRST_PAUSE_S, 0
        while True:
            # Polled, because an event would be work for every request.
            while self._server.is_busy or self._server.is_stopping:  # noqa: ASYNC110
                await asyncio.sleep(_ROOM_EVERY_S)
            # Held by nobody who waits: a key over its quota must not keep others' batches from running.
            async with self._slots:
                answer = await self._server.post(path, body, key)
            if answer.status < 429 or answer.headers.get("x-should-retry") == "false":
                return answer
            if answer.status not in (429, 503):
                tries += 1
                if tries == _MAX_TRIES:
                    return answer
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _finish(
        self, batch: StoredBatch, ending: Status | None = None, errors: list[dict[str, Any]] | None = None
    ) -> None:
        """Write the files and end the batch. By default it ends as it must: cancelled, expired or completed."""
        if ending is None:
            ending = "cancelled" if batch.status == "cancelling" else "completed"
            left = await self._persist(partial(self._store.unanswered, batch.id, after=0, limit=1))
            if ending == "completed" and (left or batch.status == "validating"):
                ending = "expired"
        await self._persist(partial(self._store.finalize, batch.id, self._owner))
        files: dict[str, FileWriter] = {}
        if batch.total:
            for name, failed in (("output_file", False), ("error_file", True)):
                writer = await self._write_file(batch, name, failed=failed, ending=ending)
                if writer is not None:
                    files[name] = writer
        await self._persist(partial(self._store.end, batch.id, self._owner, ending, files=files, errors=errors or ()))
        self._metrics.ended(ending)
        # If this fails, they are deleted with what has expired.
        with suppress(StoreError):
            await self._store.drop_lines(batch.id)

    async def _write_file(self, batch: StoredBatch, name: str, *, failed: bool, ending: Status) -> FileWriter | None:
        """Write the outcomes of one kind, to the error file also the requests without any; None if there are none."""
        writer: FileWriter | None = None
        for fetch in (self._outcomes, *((self._unanswered,) if failed else ())):
            last = 0
            while page := await fetch(batch, last, failed=failed, ending=ending):
                if writer is None:
                    writer = await self._persist(partial(self._create_file, batch, name))
                data = "".join(f"{line}\n" for _, line in page).encode()
                writer.append(data)
                await self._persist(writer.drain)
                last = page[-1][0]
        if writer is not None:
            await self._persist(writer.flush)
        return writer

    async def _outcomes(self, batch: StoredBatch, last: int, *, failed: bool, ending: Status) -> list[tuple[int, str]]:
        fetch = partial(self._store.outcomes, batch.id, failed=failed, after=last, limit=_OUTCOME_PAGE)
        return await self._persist(fetch)

    async def _unanswered(
        self, batch: StoredBatch, last: int, *, failed: bool, ending: Status
    ) -> list[tuple[int, str]]:
        lines = await self._persist(partial(self._store.unanswered, batch.id, after=last, limit=_PAGE))
        return [(line.number, unanswered_line(batch.id, line, ending)) for line in lines]

    async def _create_file(self, batch: StoredBatch, name: str) -> FileWriter:
        expires = time.time() + self._server.settings.batches.max_age_s
        filename = f"{batch.id}_{name.removesuffix('_file')}.jsonl"
        return await self._files.create(
            key=batch.key, filename=filename, purpose="batch_output", expires=expires, limited=False
        )

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Use the database; while it is in trouble, try again until another process may own the batch."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await write()
            except StoreRefusedError:
                raise
            except StoreError as error:
                self._fail(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _expire_on(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            with suppress(StoreError):
                await self._database.open()
                await self._store.expire(time.time() - self._server.settings.batches.max_age_s)
                if await self._files.expire():
                    await self._database.compact()


def _body_of(raw: bytes) -> bytes:
    """The body of a line of the input, which was checked."""
    return json.dumps(read_json(raw)["body"], ensure_ascii=False).encode()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
