"""Stored batches: what clients see of them, who runs them, and the outcome of each of their requests.

A batch is run by one server process at a time, its owner, for as long as that renews its lease. Every change by the
owner fails if the batch has another one, so a process that was suspended for too long changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from secrets import token_hex
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spar_server.batches.files import ENDED, FileWriter
from spar_server.errors import ApiError, LeaseLostError
from spar_server.settings import BatchSettings
from spar_server.traces.database import Database
from spar_server.traces.schema import BATCH_LINES, BATCHES, FILES

Status = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]
WINDOW_S: Final = 24 * 3600.0
# Rows of one deletion: a longer one would keep others from writing.
_DELETE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch. Times are in seconds since 1970; `detail` has `metadata`, `times`, `errors` and the ids of the files."""

    id: str
    created: float
    expires: float
    key: str
    status: Status
    endpoint: str
    input_file: str
    total: int
    completed: int
    failed: int
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A request of a batch: its number in the input file, from 1, and where that has it, in bytes."""

    number: int
    custom_id: str
    start: int
    length: int


_COLUMNS: Final = tuple(BATCHES.c[each.name] for each in fields(StoredBatch))
_LINE_COLUMNS: Final = tuple(BATCH_LINES.c[each.name] for each in fields(BatchLine))


def _batch(row: Row[Any]) -> StoredBatch:
    values: list[Any] = [*row[:-1], json.loads(row[-1])]
    return StoredBatch(*values)


class BatchStore:
    """Batches in a database. Every method raises StoreError if the database is in trouble."""

    def __init__(self, database: Database, limits: BatchSettings) -> None:
        self._database = database
        self._limits = limits

    async def create(self, *, key: str, endpoint: str, input_file: str, metadata: Mapping[str, str]) -> StoredBatch:
        """Create a batch, which is yet to be validated.

        Raises:
            ApiError: 400; there is no such input file. 429; the key has as many unfinished batches as it may.
        """
        now = time.time()
        id, expires = f"batch_{token_hex(16)}", now + WINDOW_S
        detail = {"metadata": dict(metadata), "times": {}}
        batch = StoredBatch(id, now, expires, key, "validating", endpoint, input_file, 0, 0, 0, detail)
        values = {each.name: getattr(batch, each.name) for each in fields(batch)} | {"detail": json.dumps(detail)}
        own_file = (FILES.c.id == input_file, FILES.c.key == key, FILES.c.status == "processed")
        async with self._database.writing() as connection:
            purpose = await connection.scalar(select(FILES.c.purpose).where(*own_file).with_for_update())
            if purpose != "batch":
                message = "input_file_id: must be the id of a file that this key has uploaded with the purpose batch"
                raise ApiError(400, message, param="input_file_id", code="invalid_value")
            open_batches = await connection.scalar(
                select(func.count()).where(BATCHES.c.key == key, BATCHES.c.status.not_in(ENDED))
            )
            if (open_batches or 0) >= self._limits.max_unfinished:
                message = f"this key has {self._limits.max_unfinished} unfinished batches, its limit; wait for one"
                raise ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded", final=True)
            await connection.execute(insert(BATCHES).values(**values, owner=None, lease=0.0))
        return batch

    async def get(self, id: str, key: str) -> StoredBatch | None:
        """A batch of this key."""
        async with self._database.reading() as connection:
            return await self._find(connection, BATCHES.c.id == id, BATCHES.c.key == key)

    async def page(self, key: str, *, limit: int, after: str | None) -> tuple[list[StoredBatch], bool]:
        """Batches of this key, newest first, and whether there are more; `after` is the last of the page before.

        Raises:
            ApiError: 400; there is no such batch.
        """
        query = select(*_COLUMNS).where(BATCHES.c.key == key).limit(limit + 1)
        query = query.order_by(BATCHES.c.created.desc(), BATCHES.c.id.desc())
        if after is not None:
            last = await self.get(after, key)
            if last is None:
                raise ApiError(400, "after: is not the id of a batch", param="after", code="invalid_value")
            query = query.where(tuple_(BATCHES.c.created, BATCHES.c.id) < tuple_(last.created, last.id))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [_batch(row) for row in rows[:limit]], len(rows) > limit

    async def cancel(self, id: str, key: str) -> StoredBatch | None:
        """Have a batch cancelled by its owner; None if this key has no such batch. One that finishes is left alone.

        Raises:
            ApiError: 400; it has ended already.
        """
        async with self._database.writing() as connection:
            batch = await self._find(connection, BATCHES.c.id == id, BATCHES.c.key == key, lock=True)
            if batch is None:
                return None
            if batch.ended:
                raise ApiError(400, f"the batch {id} has ended: it is {batch.status}", code="batch_ended")
            if batch.status in ("validating", "in_progress"):
                await self._change(connection, id, "cancelling", batch.detail)
            return await self._find(connection, BATCHES.c.id == id)

    async def claim(self, owner: str, lease_s: float) -> StoredBatch | None:
        """Own the oldest batch that nobody runs, of a key none of whose batches is run; None if there is none."""
        now = time.time()
        free = or_(BATCHES.c.owner.is_(None), BATCHES.c.lease < now)
        busy = select(BATCHES.c.key).where(BATCHES.c.status.not_in(ENDED), ~free)
        query = select(BATCHES.c.id).where(BATCHES.c.status.not_in(ENDED), free, BATCHES.c.key.not_in(busy))
        query = query.order_by(BATCHES.c.created, BATCHES.c.id).limit(1)
        # Looked for without the lock for writing, because mostly there is none.
        async with self._database.reading() as connection:
            id = await connection.scalar(query)
        if id is None:
            return None
        async with self._database.writing() as connection:
            claimed = await connection.execute(
                update(BATCHES)
                .where(BATCHES.c.id == id, BATCHES.c.status.not_in(ENDED), free)
                .values(owner=owner, lease=now + lease_s)
            )
            return await self._find(connection, BATCHES.c.id == id) if claimed.rowcount else None

    async def renew(self, id: str, owner: str, lease_s: float) -> Status:
        """Own the batch for longer; returns its status, which a client may have changed."""
        async with self._database.writing() as connection:
            await self._own(connection, id, owner, lease=time.time() + lease_s)
            status: Status | None = await connection.scalar(select(BATCHES.c.status).where(BATCHES.c.id == id))
        assert status is not None
        return status

    async def release(self, id: str, owner: str) -> None:
        """Let another process have the batch at once."""
        async with self._database.writing() as connection:
            await connection.execute(
                update(BATCHES).where(BATCHES.c.id == id, BATCHES.c.owner == owner).values(owner=None)
            )

    async def drop_lines(self, id: str) -> None:
        """Delete the batch's requests, before they are read again or after they are in its files."""
        numbers = select(BATCH_LINES.c.number).where(BATCH_LINES.c.batch_id == id).limit(_DELETE_ROWS)
        while True:
            async with self._database.writing() as connection:
                gone = await connection.execute(
                    delete(BATCH_LINES).where(BATCH_LINES.c.batch_id == id, BATCH_LINES.c.number.in_(numbers))
                )
            if not gone.rowcount:
                return

    async def add_lines(self, id: str, owner: str, lines: Sequence[BatchLine]) -> None:
        rows = [{"batch_id": id, **{each.name: getattr(line, each.name) for each in fields(line)}} for line in lines]
        async with self._database.writing() as connection:
            await self._own(connection, id, owner)
            # Of an attempt that failed after it was committed, they are there already.
            await connection.execute(self._database.insert(BATCH_LINES).on_conflict_do_nothing(), rows)

    async def start(self, id: str, owner: str, total: int) -> None:
        """Say that the batch's requests are all there. A batch that is being cancelled stays so."""
        async with self._database.writing() as connection:
            await self._own(connection, id, owner, total=total)
            batch = await self._find(connection, BATCHES.c.id == id, BATCHES.c.status == "validating")
            if batch is not None:
                await self._change(connection, id, "in_progress", batch.detail)

    async def unanswered(self, id: str, *, after: int, limit: int) -> list[BatchLine]:
        """The first requests with a number over `after` that have no outcome."""
        query = select(*_LINE_COLUMNS).where(
            BATCH_LINES.c.batch_id == id, BATCH_LINES.c.failed.is_(None), BATCH_LINES.c.number > after
        )
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(BATCH_LINES.c.number).limit(limit))
            return [BatchLine(*row) for row in rows]

    async def record(self, id: str, owner: str, number: int, *, failed: bool, output: str) -> None:
        """Store the outcome of a request and count it, both or neither. One that has an outcome keeps it."""
        line = (BATCH_LINES.c.batch_id == id, BATCH_LINES.c.number == number)
        counter = BATCHES.c.failed if failed else BATCHES.c.completed
        async with self._database.writing() as connection:
            await self._own(connection, id, owner)
            stored = await connection.execute(
                update(BATCH_LINES).where(*line, BATCH_LINES.c.failed.is_(None)).values(failed=failed, output=output)
            )
            if stored.rowcount:
                await connection.execute(update(BATCHES).where(BATCHES.c.id == id).values({counter: counter + 1}))

    async def outcomes(self, id: str, *, failed: bool, after: int, limit: int) -> list[tuple[int, str]]:
        """The first lines of output with a number over `after`, with their numbers."""
        query = select(BATCH_LINES.c.number, BATCH_LINES.c.output).where(
            BATCH_LINES.c.batch_id == id, BATCH_LINES.c.failed.is_(failed), BATCH_LINES.c.number > after
        )
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(BATCH_LINES.c.number).limit(limit))
            return [(number, output) for number, output in rows]

    async def finalize(self, id: str, owner: str) -> None:
        """Say that the files are being written. A batch that is being cancelled stays so."""
        async with self._database.writing() as connection:
            await self._own(connection, id, owner)
            batch = await self._find(connection, BATCHES.c.id == id, BATCHES.c.status == "in_progress")
            if batch is not None:
                await self._change(connection, id, "finalizing", batch.detail)

    async def end(
        self,
        id: str,
        owner: str,
        status: Status,
        *,
        files: Mapping[str, FileWriter] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """End the batch and make its files visible, by their names in `detail`, in one transaction."""
        async with self._database.writing() as connection:
            await self._own(connection, id, owner)
            batch = await self._find(connection, BATCHES.c.id == id)
            assert batch is not None
            detail = dict(batch.detail)
            if errors:
                detail["errors"] = list(errors)
            for name, file in (files or {}).items():
                await file.publish(connection)
                detail[name] = file.id
            await self._change(connection, id, status, detail, owner=None)

    async def expire(self, older_than: float) -> None:
        """Delete ended batches from before this time, and what requests of ended ones are left."""
        ended = BATCHES.c.status.in_(ENDED)
        async with self._database.writing() as connection:
            await connection.execute(delete(BATCHES).where(ended, BATCHES.c.created < older_than))
        left = select(BATCH_LINES.c.batch_id).join(BATCHES).where(ended).limit(1)
        while True:
            async with self._database.reading() as connection:
                id = await connection.scalar(left)
            if id is None:
                return
            await self.drop_lines(id)

    async def _own(self, connection: AsyncConnection, id: str, owner: str, **values: Any) -> None:
        """Change these values of a batch of this owner, or only lock it.

        Raises:
            LeaseLostError: it has another owner, or is gone.
        """
        owned = update(BATCHES).where(BATCHES.c.id == id, BATCHES.c.owner == owner).values(owner=owner, **values)
        if not (await connection.execute(owned)).rowcount:
            raise LeaseLostError(id)

    async def _change(
        self, connection: AsyncConnection, id: str, status: Status, detail: Mapping[str, Any], **values: Any
    ) -> None:
        times = {**detail.get("times", {}), status: int(time.time())}
        text = json.dumps({**detail, "times": times})
        await connection.execute(update(BATCHES).where(BATCHES.c.id == id).values(status=status, detail=text, **values))

    async def _find(
        self, connection: AsyncConnection, *conditions: ColumnElement[bool], lock: bool = False
    ) -> StoredBatch | None:
        query = select(*_COLUMNS).where(*conditions)
        row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
        return None if row is None else _batch(row)
