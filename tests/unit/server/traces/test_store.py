"""The trace store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from spar_core.errors import RequestError
from spar_server.errors import StoreRefusedError
from spar_server.traces.database import Database
from spar_server.traces.migrations import VERSION_TABLE, downgrade, upgrade
from spar_server.traces.schema import METADATA
from spar_server.traces.store import Cursor, TraceFilter, TraceStore
from tests.support.traces import record, trace_id

ALL = TraceFilter()


async def ids(store: TraceStore, filters: TraceFilter = ALL) -> list[int]:
    page = await store.page(filters, limit=100)
    return [int(trace["id"], 16) for trace in page.traces]


async def test_migrations_lead_to_the_schema_and_back(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return [each for each in compare_metadata(context, METADATA) if "remove_table" not in str(each)]

    async with database.writing() as connection:
        await connection.run_sync(upgrade)
        assert await connection.run_sync(differences) == []
        await connection.run_sync(downgrade, "base")
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert tables == [VERSION_TABLE]


async def test_servers_that_start_together_migrate_once(database: Database) -> None:
    await asyncio.gather(*(TraceStore(database).open() for _ in range(4)))
    store = TraceStore(database)
    await store.add([record(1)])
    assert await ids(store) == [1]


async def test_pages_go_from_the_newest_to_the_oldest(store: TraceStore) -> None:
    await store.add([record(number) for number in range(5)])
    first = await store.page(ALL, limit=3)
    assert [trace["id"] for trace in first.traces] == [trace_id(4), trace_id(3), trace_id(2)]
    assert first.next_cursor is not None
    second = await store.page(ALL, limit=3, after=Cursor.decode(first.next_cursor))
    assert [trace["id"] for trace in second.traces] == [trace_id(1), trace_id(0)]
    assert second.next_cursor is None


async def test_traces_of_one_moment_are_each_on_one_page(store: TraceStore) -> None:
    await store.add([record(number, created=7.5) for number in range(4)])
    found, after = [], None
    for _ in range(4):
        page = await store.page(ALL, limit=1, after=after)
        found += [trace["id"] for trace in page.traces]
        after = Cursor.decode(page.next_cursor) if page.next_cursor else None
    assert sorted(found) == [trace_id(number) for number in range(4)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (TraceFilter(key="team-b"), [1]),
        (TraceFilter(model="other"), [2]),
        (TraceFilter(stop_reason="budget"), [3]),
        (TraceFilter(improved=False), [4]),
        (TraceFilter(accepted=False), [3]),
        (TraceFilter(budget=2), [2]),
        (TraceFilter(since=1003.0), [4, 3]),
        (TraceFilter(until=1001.0), [0]),
        (TraceFilter(since=1001.0, until=1003.0, key="team-a"), [2]),
        (TraceFilter(key="nobody"), []),
    ],
)
async def test_traces_are_found_by_what_they_are(store: TraceStore, filters: TraceFilter, expected: list[int]) -> None:
    await store.add(
        [
            record(0),
            record(1, key="team-b"),
            record(2, model="other", budget=2),
            record(3, stop_reason="budget", accepted=False),
            record(4, improved=False),
        ]
    )
    assert await ids(store, filters) == expected


async def test_a_page_with_bodies_is_bounded_in_size_but_never_empty(store: TraceStore) -> None:
    long = {"text": "x" * 5 * 2**20}
    await store.add([record(number, body=long) for number in range(3)])
    page = await store.page(ALL, limit=3, bodies=True)
    assert ([trace["id"] for trace in page.traces], len(page.bodies)) == ([trace_id(2)], 1)
    assert page.next_cursor is not None


async def test_a_batch_that_was_written_already_changes_nothing(store: TraceStore) -> None:
    await store.add([record(1)])
    await store.add([record(1, key="team-b"), record(2)])
    assert await store.key_of(trace_id(1)) == "team-a"
    assert await ids(store) == [2, 1]


async def test_a_refused_value_is_told_from_a_store_in_trouble(store: TraceStore) -> None:
    with pytest.raises(StoreRefusedError):
        await store.add([record(1, model=None)])
    assert await ids(store) == []


async def test_a_key_has_one_feedback_on_a_trace_and_it_goes_with_the_trace(store: TraceStore) -> None:
    await store.add([record(1)])
    await store.add_feedback(trace_id(1), key="a", created=1.0, score=-1.0, comment="bad")
    await store.add_feedback(trace_id(1), key="a", created=2.0, score=1.0, comment="good after all")
    await store.add_feedback(trace_id(1), key="b", created=3.0, score=0.5, comment="")
    found = await store.get(trace_id(1))
    assert found is not None
    assert [(each["key"], each["score"], each["comment"]) for each in found[2]] == [
        ("a", 1.0, "good after all"),
        ("b", 0.5, ""),
    ]
    assert await store.expire_older(5000.0) == 1
    await store.add([record(1)])
    again = await store.get(trace_id(1))
    assert again is not None
    assert again[2] == []


async def test_old_traces_expire(store: TraceStore) -> None:
    await store.add([record(number) for number in range(1200)])
    assert await store.expire_older(2100.0) == 1100
    assert len(await ids(store)) == 100


async def test_the_oldest_expire_when_all_are_too_large(store: TraceStore) -> None:
    await store.add([record(number, body={"text": "x" * 988}) for number in range(10)])
    assert await store.expire_beyond(10_000) == 0
    assert await store.expire_beyond(5_000) == 6
    assert await ids(store) == [9, 8, 7, 6]


@pytest.mark.parametrize("cursor", ["", "x", "MQ==", "é", "MTAwMC4wIC4uLy4u", "A" * 10_000])
def test_a_forged_cursor_is_an_error_that_names_the_field(cursor: str) -> None:
    with pytest.raises(RequestError, match="cursor: must be the next_cursor"):
        Cursor.decode(cursor)
