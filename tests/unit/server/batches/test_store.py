"""Stored batches and files, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import func, select, update

from spar_server.batches.files import FileStore, StoredFile
from spar_server.batches.store import BatchLine, BatchStore, StoredBatch
from spar_server.errors import ApiError, LeaseLostError
from spar_server.settings import BatchSettings
from spar_server.traces.database import Database
from spar_server.traces.schema import BATCH_LINES, BATCHES, FILE_PIECES, FILES, PIECE

LIMITS = BatchSettings(enabled=True)
LEASE_S = 1000.0


@pytest.fixture
async def files(database: Database) -> FileStore:
    await database.open()
    return FileStore(database, LIMITS)


@pytest.fixture
async def store(database: Database, files: FileStore) -> BatchStore:
    return BatchStore(database, LIMITS)


async def stored(files: FileStore, data: bytes = b"{}", key: str = "ann") -> StoredFile:
    writer = await files.create(key=key, filename="in", purpose="batch", expires=time.time() + 1000)
    await writer.write(data)
    return await writer.finish()


async def created(files: FileStore, store: BatchStore, key: str = "ann") -> StoredBatch:
    file = await stored(files, key=key)
    return await store.create(key=key, endpoint="/v1/responses", input_file=file.id, metadata={})


async def started(files: FileStore, store: BatchStore, lines: int = 3) -> StoredBatch:
    """A batch in progress, owned by `one`."""
    await created(files, store)
    batch = await store.claim("one", LEASE_S)
    assert batch is not None
    rows = [BatchLine(number, f"id-{number}", number * 10, 10) for number in range(1, lines + 1)]
    await store.add_lines(batch.id, "one", rows)
    await store.start(batch.id, "one", lines)
    return batch


async def test_any_range_of_a_file_can_be_read(files: FileStore) -> None:
    data = bytes(number % 251 for number in range(2 * PIECE + 100))
    file = await stored(files, data)
    assert file.size == len(data)
    for start, length in ((0, 1), (PIECE - 3, 6), (2 * PIECE - 1, 101), (0, len(data))):
        assert await files.read(file.id, start, length) == data[start : start + length]
    assert b"".join([piece async for piece in files.pieces(file)]) == data


async def test_a_batch_is_run_by_one_owner_until_its_lease_is_over(files: FileStore, store: BatchStore) -> None:
    batch = await created(files, store)
    claims = await asyncio.gather(*(store.claim(owner, LEASE_S) for owner in ("one", "two", "three")))
    assert [claim.id for claim in claims if claim] == [batch.id]
    owner = ("one", "two", "three")[[bool(claim) for claim in claims].index(True)]
    assert await store.renew(batch.id, owner, -1.0) == "validating"
    again = await store.claim("four", LEASE_S)
    assert again is not None
    for change in (
        store.renew(batch.id, owner, LEASE_S),
        store.start(batch.id, owner, 1),
        store.record(batch.id, owner, 1, failed=False, output="{}"),
        store.end(batch.id, owner, "completed"),
    ):
        with pytest.raises(LeaseLostError):
            await change
    await store.release(batch.id, "four")
    assert await store.claim("five", LEASE_S) is not None


async def test_a_keys_batches_run_one_after_the_other_and_keys_side_by_side(
    files: FileStore, store: BatchStore
) -> None:
    first, _, other = [await created(files, store, key) for key in ("ann", "ann", "bob")]
    claims = [await store.claim("one", LEASE_S) for _ in range(3)]
    assert [claim and claim.id for claim in claims] == [first.id, other.id, None]


async def test_a_request_has_one_outcome_whoever_comes_first(files: FileStore, store: BatchStore) -> None:
    batch = await started(files, store)
    await store.record(batch.id, "one", 2, failed=False, output="first")
    await store.record(batch.id, "one", 2, failed=True, output="second")
    await store.record(batch.id, "one", 3, failed=True, output="third")
    found = await store.get(batch.id, "ann")
    assert found is not None
    assert (found.status, found.total, found.completed, found.failed) == ("in_progress", 3, 1, 1)
    assert [line.number for line in await store.unanswered(batch.id, after=0, limit=9)] == [1]
    assert await store.outcomes(batch.id, failed=False, after=0, limit=9) == [(2, "first")]
    assert await store.outcomes(batch.id, failed=True, after=0, limit=9) == [(3, "third")]


async def test_an_ended_batch_shows_its_files_and_loses_its_requests(
    database: Database, files: FileStore, store: BatchStore
) -> None:
    batch = await started(files, store)
    await store.finalize(batch.id, "one")
    writer = await files.create(key="ann", filename="out", purpose="batch_output", expires=time.time() + 9)
    await writer.write(b"line")
    await writer.flush()
    assert await files.get(writer.id, "ann") is None
    await store.end(batch.id, "one", "completed", files={"output_file": writer})
    assert await files.get(writer.id, "ann") is not None
    await store.expire(0.0)
    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(BATCH_LINES)) == 0
    found = await store.get(batch.id, "ann")
    assert found is not None
    assert found.detail["output_file"] == writer.id
    assert set(found.detail["times"]) == {"in_progress", "finalizing", "completed"}
    assert await store.claim("two", LEASE_S) is None
    await store.expire(time.time() + 1)
    assert await store.get(batch.id, "ann") is None


async def test_a_batch_that_is_being_cancelled_goes_no_further(files: FileStore, store: BatchStore) -> None:
    batch = await created(files, store)
    assert await store.claim("one", LEASE_S) is not None
    cancelled = await store.cancel(batch.id, "ann")
    assert cancelled is not None
    assert cancelled.status == "cancelling"
    await store.start(batch.id, "one", 0)
    await store.finalize(batch.id, "one")
    assert await store.renew(batch.id, "one", LEASE_S) == "cancelling"
    assert await store.cancel(batch.id, "bob") is None
    await store.end(batch.id, "one", "cancelled")
    with pytest.raises(ApiError, match="has ended"):
        await store.cancel(batch.id, "ann")


async def test_old_files_and_abandoned_uploads_go_but_not_the_input_of_a_batch(
    database: Database, files: FileStore, store: BatchStore
) -> None:
    batch, old, kept = await created(files, store), await stored(files), await stored(files)
    abandoned = await files.create(key="ann", filename="in", purpose="batch", expires=time.time() + 1000)
    running = await files.create(key="ann", filename="in", purpose="batch", expires=time.time() + 1000)
    async with database.writing() as connection:
        changed = update(FILES)
        await connection.execute(changed.where(FILES.c.id.in_([batch.input_file, old.id])).values(expires=1.0))
        await connection.execute(changed.where(FILES.c.id == abandoned.id).values(changed=1.0))
    assert await files.expire() == 2
    assert await files.get(batch.input_file, "ann") is not None
    assert await files.get(kept.id, "ann") is not None
    assert await files.get(old.id, "ann") is None
    async with database.reading() as connection:
        left = set(await connection.scalars(select(FILE_PIECES.c.file_id)))
    assert left == {batch.input_file, kept.id}
    await running.write(b"{}")
    await running.finish()
    await abandoned.write(b"{}")
    with pytest.raises(ApiError, match="too slow"):
        await abandoned.finish()


async def test_an_input_file_cannot_go_while_its_batch_is_created(
    database: Database, files: FileStore, store: BatchStore
) -> None:
    for _ in range(5):
        file = await stored(files)
        create = store.create(key="ann", endpoint="/v1/responses", input_file=file.id, metadata={})
        made, deleted = await asyncio.gather(create, files.delete(file.id, "ann"), return_exceptions=True)
        assert isinstance(made, StoredBatch) == isinstance(deleted, ApiError)
    async with database.reading() as connection:
        used = set(await connection.scalars(select(BATCHES.c.input_file)))
        assert used == set(await connection.scalars(select(FILES.c.id)))
