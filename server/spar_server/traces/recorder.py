"""Record finished searches: capture them on the request's path, write them in batches beside it.

    recorder.start()
    recording = recorder.begin(plan, key)       # see spar_server.serving.recording
    await recorder.aclose()

An answer never waits for the store, and never fails because of it: the queue is bounded, and what does not fit is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spar_core.off_loop import SHORT
from spar_core.timeout import Timeout
from spar_server.errors import StoreError, StoreRefusedError
from spar_server.metrics.traces import TraceMetrics
from spar_server.serving.plan import Outcome, Plan
from spar_server.serving.recording import UNRECORDED, Recording
from spar_server.settings import ApiKey, TraceSettings
from spar_server.traces.calls import CallLog
from spar_server.traces.document import (
    Captured,
    Redactor,
    Replies,
    UsageOf,
    columns_of,
    encode,
    text_size,
    write_document,
)

if TYPE_CHECKING:
    from spar_server.traces.store import TraceRecord, TraceStore

logger = logging.getLogger(__name__)

# Traces that arrive within this time are written together, which costs far less than one by one.
_LINGER_S: Final = 5.0
_MAX_BATCH: Final = 256
_WRITE_S: Final = 10.0
# After a failed write: doubled from the first pause up to the last.
_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 10.0
_EXPIRE_EVERY_S: Final = 60.0
_STOP_S: Final = 5.0
_DAY_S: Final = 24 * 3600.0


class _Recorded:
    def __init__(self, recorder: TraceRecorder, key: ApiKey) -> None:
        self._recorder = recorder
        self._key = key
        self._replies = Replies(CallLog(recorder.keeps_prompts))
        # Each is read as it comes: kept until the end, they would be most of what the garbage collector visits.
        self.on_event = self._replies.read

    def finish(self, outcome: Outcome) -> None:
        replies = self._replies
        size = text_size(outcome, replies)
        # Half, because JSON is longer than its texts.
        if size > self._recorder.largest // 2:
            size -= replies.calls.size
            replies.calls.drop_prompts()
        created = round(time.time(), 6)
        self._recorder.put(Captured(created, self._key.name, outcome, replies, size))


class _RedactionError(Exception):
    """The hook failed, or returned no trace."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """How the store does; `failing` since the last write failed."""

    failing: bool
    queued: int
    stored: int
    dropped: int


class TraceRecorder:
    """The queue of captured searches, and the task that writes them."""

    def __init__(
        self,
        settings: TraceSettings,
        store: TraceStore,
        metrics: TraceMetrics,
        *,
        usage_of: UsageOf,
        redact: Redactor | None = None,
    ) -> None:
        self.store = store
        self._settings = settings
        self._metrics = metrics
        self._usage_of = usage_of
        self._redact = redact
        self._linger_s = _LINGER_S
        self._expire_every_s = _EXPIRE_EVERY_S
        self._queue: deque[Captured] = deque()
        self._queued_size = 0
        # Set when a trace is queued, and when those that are collected are to be written now.
        self._woken = asyncio.Event()
        self._hurried = False
        self._waiting: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._failing = False
        self._opened = False
        metrics.watch(lambda: len(self._waiting))

    @property
    def keeps_prompts(self) -> bool:
        """A hook that redacts does not know of prompts, which repeat what it removes."""
        return self._settings.prompts and self._redact is None

    @property
    def largest(self) -> int:
        """The size of the largest trace that is stored, in characters."""
        return self._settings.max_trace_kib * 1024

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(self._failing, len(self._waiting), self._metrics.stored_total, self._metrics.dropped_total)

    def begin(self, plan: Plan, key: ApiKey) -> Recording:
        """Begin a search, which is recorded if the settings, the key and the client say so."""
        if not plan.may_store or not self._chooses(plan.trace_id, key):
            return UNRECORDED
        return _Recorded(self, key)

    def _chooses(self, trace_id: str, key: ApiKey) -> bool:
        """Whether this search is among the share to be stored; decided by its id, which is random."""
        share = self._settings.record if key.traces is None else key.traces
        return int(trace_id[:8], 16) < share * 2**32

    def put(self, captured: Captured) -> None:
        """Queue a finished search; drop it if there is no room."""
        settings = self._settings
        if captured.size > self.largest:
            self._metrics.dropped("too_large")
        elif (
            len(self._waiting) >= settings.max_queue
            or self._queued_size + captured.size > settings.max_queue_mib * 2**20
        ):
            self._metrics.dropped("queue_full")
        else:
            self._queue.append(captured)
            self._queued_size += captured.size
            self._waiting[captured.id] = asyncio.Event()
            self._woken.set()

    async def written(self, trace_id: str, *, within_s: float = 2.0) -> None:
        """Wait until a trace that is queued is written or dropped, for a short time."""
        if (written := self._waiting.get(trace_id)) is not None:
            self._hurry()
            with suppress(TimeoutError), Timeout(within_s):
                await written.wait()

    def start(self, *, expires: bool = True) -> None:
        """Start writing, and if it `expires` traces deleting them, in tasks of the running event loop."""
        self._tasks = [asyncio.create_task(self._write_on())]
        if expires:
            self._tasks.append(asyncio.create_task(self._expire_on()))

    async def aclose(self) -> None:
        """Write what is queued, as far as that is quick, and close the store."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                while self._waiting and not self._failing:
                    self._hurry()
                    await next(iter(self._waiting.values())).wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._metrics.dropped("stopped", len(self._waiting))
        if self._waiting:
            logger.warning("%d traces were not written before the server stopped", len(self._waiting))
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self.store.aclose()

    async def _write_on(self) -> None:
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._open()
        except (StoreError, TimeoutError) as error:
            # Said now rather than at the first trace, which tries again.
            self._fail(error)
        while True:
            batch, records = await self._collect()
            await self._write(records)
            for id, size in batch:
                self._queued_size -= size
                self._waiting.pop(id).set()

    async def _collect(self) -> tuple[list[tuple[str, int]], list[TraceRecord]]:
        """Encode traces as they come until the first has waited for long; their ids and sizes, and the records.

        A search is encoded at once, because until then it keeps thousands of objects from being freed.
        """
        batch: list[tuple[str, int]] = []
        records: list[TraceRecord] = []
        end: asyncio.TimerHandle | None = None
        while True:
            self._woken.clear()
            while self._queue and len(batch) < _MAX_BATCH:
                captured = self._queue.popleft()
                batch.append((captured.id, captured.size))
                if (record := await self._encoded(captured)) is not None:
                    records.append(record)
            if batch and (self._hurried or len(batch) == _MAX_BATCH):
                break
            if batch and end is None:
                end = asyncio.get_running_loop().call_later(self._linger_s, self._hurry)
            await self._woken.wait()
        self._hurried = False
        if end is not None:
            end.cancel()
        return batch, records

    def _hurry(self) -> None:
        self._hurried = True
        self._woken.set()

    async def _encoded(self, captured: Captured) -> TraceRecord | None:
        """The trace as it is written; None if it is dropped."""
        try:
            if self._redact is None and captured.size <= SHORT:
                record = self._encode(captured)
                # Others have their turn between two traces.
                await asyncio.sleep(0)
            else:
                record = await asyncio.to_thread(self._encode, captured)
        except _RedactionError as error:
            logger.warning("a trace was dropped, because it could not be redacted: %s", error)
            self._metrics.dropped("redaction")
            return None
        if record is None:
            self._metrics.dropped("withheld")
        elif len(record.body) > self.largest:
            self._metrics.dropped("too_large")
            return None
        return record

    def _encode(self, captured: Captured) -> TraceRecord | None:
        from spar_server.traces.store import TraceRecord

        columns, document = columns_of(captured), write_document(captured, self._usage_of)
        if self._redact is None:
            return TraceRecord(columns, encode(document))
        try:
            redacted = self._redact({**columns, **document})
            if redacted is None:
                return None
            return TraceRecord(columns, encode({name: redacted[name] for name in redacted if name not in columns}))
        except Exception as error:
            # The hook is the operator's code. What it could not redact must not be written, nor be in the log.
            raise _RedactionError(type(error).__name__) from error

    async def _write(self, records: Sequence[TraceRecord]) -> None:
        """Write a batch; retry for as long as the store is in trouble, while the queue fills up."""
        pause_s = _FIRST_PAUSE_S
        while records:
            try:
                await self._add(records)
            except StoreRefusedError:
                records = await self._without_refused(records)
                continue
            except (StoreError, TimeoutError) as error:
                self._fail(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
                continue
            return

    async def _add(self, records: Sequence[TraceRecord]) -> None:
        started = time.monotonic()
        async with asyncio.timeout(_WRITE_S):
            await self._open()
            await self.store.add(records)
        self._metrics.stored(len(records), time.monotonic() - started)
        self._recover()

    async def _open(self) -> None:
        if not self._opened:
            await self.store.open()
            self._opened = True

    async def _without_refused(self, records: Sequence[TraceRecord]) -> list[TraceRecord]:
        """Write a batch one by one, and return what a store in trouble leaves over."""
        left = list(records)
        while left:
            try:
                await self._add(left[:1])
            except StoreRefusedError as error:
                logger.warning("the store refused the trace %s (%s)", left[0].columns["id"], error)
                self._metrics.dropped("refused")
            except (StoreError, TimeoutError):
                break
            del left[0]
        return left

    async def _expire_on(self) -> None:
        while True:
            await asyncio.sleep(self._expire_every_s)
            if self._opened:
                # If it fails, so does the next write, which reports it.
                with suppress(StoreError):
                    await self.expire()

    async def expire(self) -> None:
        """Delete the traces that are too old, then the oldest of those that are too many."""
        old = await self.store.expire_older(time.time() - self._settings.max_age_days * _DAY_S)
        many = await self.store.expire_beyond(self._settings.max_mib * 2**20)
        if old or many:
            self._metrics.expired(age=old, size=many)
            await self.store.compact()

    def _fail(self, error: Exception) -> None:
        if not self._failing:
            reason = str(error) or "the store did not answer in time"
            logger.warning("traces cannot be stored (%s); trying again until they can", reason)
        self._failing = True
        self._metrics.up(False)

    def _recover(self) -> None:
        if self._failing:
            logger.warning("traces are stored again")
        self._failing = False
        self._metrics.up(True)
