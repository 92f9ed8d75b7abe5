"""Stored traces: add, find, read, and what people say about them.

store = TraceStore(open_database(settings))
await store.open()
await store.add([record])
page = await store.page(TraceFilter(key="team-a"), limit=20)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from spar_core.errors import RequestError
from spar_server.traces.database import Database
from spar_server.traces.schema import FEEDBACK, SUMMARY, TRACES

# Rows of one deletion: a longer one would keep others from writing.
_EXPIRE_ROWS: Final = 500
# A size limit is enforced down to this share of itself, so that it is not at work all the time.
_EXPIRE_TO: Final = 0.9
# Bytes of the traces on one page with bodies; the first is always there.
_MAX_PAGE: Final = 8 * 2**20

_COLUMNS: Final = tuple(column.name for column in TRACES.columns)
_PLACES: Final = ", ".join("?" * len(_COLUMNS))
_SQLITE_INSERT: Final = f"INSERT INTO {TRACES.name} ({', '.join(_COLUMNS)}) VALUES ({_PLACES}) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """A trace ready to be written: the values of its columns, and its body as JSON."""

    columns: dict[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Which traces to list; None is any. Times are in seconds since 1970, `until` is exclusive."""

    key: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    stop_reason: str | None = None
    improved: bool | None = None
    accepted: bool | None = None
    budget: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        columns = TRACES.c
        equal = ("key", "model", "stop_reason", "improved", "accepted", "budget")
        conditions = [columns[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.since is not None:
            conditions.append(columns.created >= self.since)
        if self.until is not None:
            conditions.append(columns.created < self.until)
        return conditions


class Cursor(NamedTuple):
    """The last trace of a page; the next page starts after it."""

    created: float
    id: str

    def encode(self) -> str:
        return base64.urlsafe_b64encode(f"{self.created!r} {self.id}".encode()).decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor.

        Raises:
            RequestError: it is not one that `encode` wrote.
        """
        try:
            plain = base64.b64decode(text, altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            plain = ""
        if not (match := re.fullmatch(r"(\d{1,12}\.\d{1,9}) ([0-9a-f]{1,64})", plain)):
            raise RequestError("cursor: must be the next_cursor of an earlier page", param="cursor")
        return cls(float(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class Page:
    """Traces, newest first. `bodies` and `feedback` are empty unless they were requested."""

    traces: list[dict[str, Any]]
    bodies: list[str]
    feedback: list[list[dict[str, Any]]]
    next_cursor: str | None


class TraceStore:
    """Traces in a database. Every method raises StoreError if the database is in trouble."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.insert

    async def open(self) -> None:
        """Create or update the tables."""
        await self._database.open()

    async def rehearse(self) -> None:
        """Find out whether `open` would work, without a change."""
        await self._database.rehearse()

    async def aclose(self) -> None:
        await self._database.aclose()

    async def add(self, records: Sequence[TraceRecord]) -> None:
        """Write all records or, on an error, none. One that is already there is left as it is."""
        rows = [{**record.columns, "size": len(record.body), "body": record.body.decode()} for record in records]
        async with self._database.writing() as connection:
            if self._database.dialect == "sqlite":
                # Its own statement: to prepare the parameters of SQLAlchemy's takes as long as writing them.
                values = [tuple([row[name] for name in _COLUMNS]) for row in rows]
                await connection.exec_driver_sql(_SQLITE_INSERT, values)
            else:
                await connection.execute(self._insert(TRACES).on_conflict_do_nothing(), rows)

    async def page(
        self, filters: TraceFilter, *, limit: int, after: Cursor | None = None, bodies: bool = False
    ) -> Page:
        """One page of traces, newest first. A page with bodies may be shorter than `limit`, but not empty."""
        query = select(*SUMMARY, TRACES.c.size).where(*filters.conditions()).limit(limit + 1)
        if after is not None:
            query = query.where(tuple_(TRACES.c.created, TRACES.c.id) < tuple_(after.created, after.id))
        async with self._database.reading() as connection:
            rows = (await connection.execute(_newest_first(query))).mappings().all()
            count = min(limit, len(rows))
            if bodies:
                count = _fitting([row["size"] for row in rows[:count]])
            traces = [dict(row) for row in rows[:count]]
            ids = [trace["id"] for trace in traces]
            texts = await self._bodies(connection, ids) if bodies else []
            feedback = await self._feedback(connection, ids) if bodies else []
        more = count < len(rows)
        cursor = Cursor(traces[-1]["created"], traces[-1]["id"]).encode() if traces and more else None
        return Page(traces, texts, feedback, cursor)

    async def get(self, id: str) -> tuple[dict[str, Any], str, list[dict[str, Any]]] | None:
        """A trace's columns, its body and its feedback; None if there is no such trace."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(TRACES).where(TRACES.c.id == id))).mappings().one_or_none()
            if row is None:
                return None
            (feedback,) = await self._feedback(connection, [id])
        columns = dict(row)
        return columns, columns.pop("body"), feedback

    async def key_of(self, id: str) -> str | None:
        """The name of the key whose search the trace is; None if there is no such trace."""
        async with self._database.reading() as connection:
            name: str | None = await connection.scalar(select(TRACES.c.key).where(TRACES.c.id == id))
        return name

    async def add_feedback(self, trace_id: str, *, key: str, created: float, score: float, comment: str) -> None:
        """Store a key's feedback on a trace, in place of its earlier one."""
        values = {"trace_id": trace_id, "key": key, "created": created, "score": score, "comment": comment}
        insert = self._insert(FEEDBACK).values(**values)
        changed = {"created": created, "score": score, "comment": comment}
        async with self._database.writing() as connection:
            await connection.execute(
                insert.on_conflict_do_update(index_elements=[FEEDBACK.c.trace_id, FEEDBACK.c.key], set_=changed)
            )

    async def expire_older(self, created: float) -> int:
        """Delete the traces from before `created`; returns how many."""
        expired = 0
        while ids := await self._oldest(TRACES.c.created < created):
            expired += await self._delete([id for id, _ in ids])
        return expired

    async def expire_beyond(self, size: int) -> int:
        """If all bodies together have more than `size` bytes, delete the oldest; returns how many."""
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.coalesce(func.sum(TRACES.c.size), 0)))
        if total is None or total <= size:
            return 0
        expired, left = 0, int(total)
        while left > _EXPIRE_TO * size and (oldest := await self._oldest()):
            ids = []
            for id, length in oldest:
                if left <= _EXPIRE_TO * size:
                    break
                ids.append(id)
                left -= length
            expired += await self._delete(ids)
        return expired

    async def compact(self) -> None:
        """Give the space of deleted traces back to the file system, where the database can."""
        await self._database.compact()

    async def _oldest(self, *conditions: ColumnElement[bool]) -> list[tuple[str, int]]:
        query = select(TRACES.c.id, TRACES.c.size).where(*conditions)
        query = query.order_by(TRACES.c.created, TRACES.c.id).limit(_EXPIRE_ROWS)
        async with self._database.reading() as connection:
            return [(id, size) for id, size in await connection.execute(query)]

    async def _delete(self, ids: Sequence[str]) -> int:
        async with self._database.writing() as connection:
            return (await connection.execute(delete(TRACES).where(TRACES.c.id.in_(ids)))).rowcount

    async def _feedback(self, connection: AsyncConnection, ids: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The feedback on each of the traces, in the order in which it was given."""
        query = select(FEEDBACK).where(FEEDBACK.c.trace_id.in_(ids)).order_by(FEEDBACK.c.created)
        rows = [dict(row) for row in (await connection.execute(query)).mappings()]
        return [[row for row in rows if row["trace_id"] == id] for id in ids]

    async def _bodies(self, connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
        rows = await connection.execute(select(TRACES.c.id, TRACES.c.body).where(TRACES.c.id.in_(ids)))
        found = {row.id: row.body for row in rows}
        # A trace that expired in between has none.
        return [found.get(id, "{}") for id in ids]


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(TRACES.c.created.desc(), TRACES.c.id.desc())


def _fitting(sizes: Sequence[int]) -> int:
    """How many of the first bodies are on one page."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > _MAX_PAGE and count:
            return count
    return len(sizes)
