"""Stored files: uploads and the output of batches, in pieces that are written and read one by one.

writer = await files.create(key="team-a", filename="in.jsonl", purpose="batch", expires=...)
await writer.write(data)
file = await writer.finish()
async for piece in files.pieces(file): ...
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from secrets import token_hex
from typing import Any, Final, Literal

from sqlalchemy import delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spar_server.errors import ApiError
from spar_server.settings import BatchSettings
from spar_server.traces.database import Database
from spar_server.traces.schema import BATCHES, FILE_PIECES, FILES, PIECE

Purpose = Literal["batch", "batch_output"]
ENDED: Final = ("completed", "failed", "expired", "cancelled")
# An upload that got nothing for this long was given up by its client or its server.
_ABANDONED_S: Final = 600.0
_EXPIRE_ROWS: Final = 100
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a key. Times are in seconds since 1970, `size` in bytes."""

    id: str
    created: float
    expires: float
    key: str
    filename: str
    purpose: str
    status: str
    size: int


_COLUMNS: Final = tuple(FILES.c[each.name] for each in fields(StoredFile))


class FileWriter:
    """Writes one file. Until `finish`, nobody sees it."""

    def __init__(self, database: Database, file: StoredFile, limits: BatchSettings | None) -> None:
        self.id = file.id
        self._database = database
        self._file = file
        self._limits = limits
        self._rest = bytearray()
        self._number = self._size = 0

    async def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            ApiError: 413; the file, or all of the key's, are over the limit. 400; the file was deleted.
        """
        self.append(data)
        limits = self._limits
        if limits is not None and self._size + len(self._rest) > limits.max_file_mib * _MIB:
            raise ApiError(413, f"file: is over this server's limit of {limits.max_file_mib} MiB", param="file")
        await self.drain()

    def append(self, data: bytes) -> None:
        """Add `data` in memory. After it, `drain` writes what is enough for a piece, and can be tried again."""
        self._rest += data

    async def drain(self) -> None:
        while len(self._rest) >= PIECE:
            await self._add(bytes(self._rest[:PIECE]))
            del self._rest[:PIECE]

    async def finish(self, expires_s: float | None = None) -> StoredFile:
        """Write what is left, and make the file visible; it expires after `expires_s` if that is sooner."""
        await self.flush()
        expires = min(self._file.expires, self._file.created + (math.inf if expires_s is None else expires_s))
        async with self._database.writing() as connection:
            await connection.execute(update(FILES).where(FILES.c.id == self.id).values(expires=expires))
            await self.publish(connection)
            row = (await connection.execute(select(*_COLUMNS).where(FILES.c.id == self.id))).one()
        return StoredFile(*row)

    async def flush(self) -> None:
        """Write what is left; `publish` is then called in a transaction of the caller's."""
        if self._rest:
            await self._add(bytes(self._rest))
            self._rest.clear()

    async def publish(self, connection: AsyncConnection) -> None:
        await connection.execute(update(FILES).where(FILES.c.id == self.id).values(status="processed"))

    async def discard(self) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(FILES).where(FILES.c.id == self.id))

    async def _add(self, piece: bytes) -> None:
        size = self._size + len(piece)
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(FILES).where(FILES.c.id == self.id).values(size=size, changed=time.time())
            )
            if not changed.rowcount:
                raise ApiError(400, "file: the upload was too slow and is gone; send it again", param="file")
            if self._limits is not None:
                await check_room(connection, self._file.key, self._limits)
            # Of an attempt that failed after it was committed, it is there already.
            added = self._database.insert(FILE_PIECES).values(file_id=self.id, number=self._number, data=piece)
            await connection.execute(added.on_conflict_do_nothing())
        self._number, self._size = self._number + 1, size


async def check_room(connection: AsyncConnection, key: str, limits: BatchSettings) -> None:
    """Raise ApiError (413) if the key's files are over its limits."""
    query = select(func.count(), func.coalesce(func.sum(FILES.c.size), 0)).where(FILES.c.key == key)
    count, size = (await connection.execute(query)).one()
    if count > limits.max_key_files:
        raise ApiError(413, f"file: this key has {limits.max_key_files} files, its limit; delete some", param="file")
    if size > limits.max_key_mib * _MIB:
        raise ApiError(
            413, f"file: this key's files are over its limit of {limits.max_key_mib} MiB; delete some", param="file"
        )


class FileStore:
    """Files in a database. Every method raises StoreError if the database is in trouble."""

    def __init__(self, database: Database, limits: BatchSettings) -> None:
        self._database = database
        self._limits = limits

    async def create(
        self, *, key: str, filename: str, purpose: Purpose, expires: float, limited: bool = True
    ) -> FileWriter:
        """Begin a file. Only files that clients upload are `limited`.

        Raises:
            ApiError: 413; the key has reached a limit.
        """
        now = time.time()
        file = StoredFile(f"file-{token_hex(16)}", now, expires, key, filename, purpose, "uploading", 0)
        async with self._database.writing() as connection:
            await connection.execute(insert(FILES).values(**_values(file), changed=now))
            if limited:
                await check_room(connection, key, self._limits)
        return FileWriter(self._database, file, self._limits if limited else None)

    async def get(self, id: str, key: str) -> StoredFile | None:
        """A file of this key."""
        query = select(*_COLUMNS).where(FILES.c.id == id, FILES.c.key == key, FILES.c.status == "processed")
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else StoredFile(*row)

    async def page(
        self, key: str, *, limit: int, after: str | None, purpose: str | None, ascending: bool
    ) -> tuple[list[StoredFile], bool]:
        """Files of this key by age, and whether there are more. `after` is the id of the last one on the page before.

        Raises:
            ApiError: 400; there is no such file.
        """
        place = (FILES.c.created, FILES.c.id)
        query = select(*_COLUMNS).where(FILES.c.key == key, FILES.c.status == "processed").limit(limit + 1)
        query = query.order_by(*place) if ascending else query.order_by(*(column.desc() for column in place))
        if purpose is not None:
            query = query.where(FILES.c.purpose == purpose)
        if after is not None:
            last = await self.get(after, key)
            if last is None:
                raise ApiError(400, "after: is not the id of a file", param="after", code="invalid_value")
            here, there = tuple_(*place), tuple_(last.created, last.id)
            query = query.where(here > there if ascending else here < there)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [StoredFile(*row) for row in rows[:limit]], len(rows) > limit

    async def delete(self, id: str, key: str) -> bool:
        """Delete a file of this key; False if there is none.

        Raises:
            ApiError: 400; an unfinished batch reads it.
        """
        chosen = (FILES.c.id == id, FILES.c.key == key, FILES.c.status == "processed")
        async with self._database.writing() as connection:
            # A batch that is being created waits for this lock, or this for the batch's.
            if await connection.scalar(select(FILES.c.id).where(*chosen).with_for_update()) is None:
                return False
            reader = await connection.scalar(
                select(BATCHES.c.id).where(BATCHES.c.input_file == id, BATCHES.c.status.not_in(ENDED)).limit(1)
            )
            if reader is not None:
                raise ApiError(400, f"the batch {reader} reads this file; cancel it first", code="file_in_use")
            await connection.execute(delete(FILES).where(*chosen))
        return True

    async def read(self, id: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`."""
        first, last = start // PIECE, (start + length - 1) // PIECE
        data = b"".join([await self._piece(id, number) for number in range(first, last + 1)])
        start -= first * PIECE
        return data[start : start + length]

    async def pieces(self, file: StoredFile) -> AsyncIterator[bytes]:
        """The content, in pieces.

        Raises:
            StoreError: the file was deleted meanwhile.
        """
        for number in range(-(-file.size // PIECE)):
            yield await self._piece(file.id, number)

    async def _piece(self, id: str, number: int) -> bytes:
        query = select(FILE_PIECES.c.data).where(FILE_PIECES.c.file_id == id, FILE_PIECES.c.number == number)
        async with self._database.reading() as connection:
            return bytes((await connection.execute(query)).scalar_one())

    async def expire(self) -> int:
        """Delete files that have expired, and uploads that were given up; returns how many."""
        now = time.time()
        reading = select(BATCHES.c.input_file).where(BATCHES.c.status.not_in(ENDED))
        gone = or_(FILES.c.expires < now, (FILES.c.status == "uploading") & (FILES.c.changed < now - _ABANDONED_S))
        expired = 0
        while ids := await self._ids(gone & FILES.c.id.not_in(reading)):
            async with self._database.writing() as connection:
                expired += (await connection.execute(delete(FILES).where(FILES.c.id.in_(ids)))).rowcount
        return expired

    async def _ids(self, condition: Any) -> Sequence[str]:
        async with self._database.reading() as connection:
            return (await connection.scalars(select(FILES.c.id).where(condition).limit(_EXPIRE_ROWS))).all()


def _values(file: StoredFile) -> dict[str, Any]:
    return {each.name: getattr(file, each.name) for each in fields(file)}
