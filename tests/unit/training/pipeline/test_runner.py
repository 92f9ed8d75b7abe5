"""Long jobs over many items: bounded, resumable, and no item lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import BackendUnavailable, DataError
from spar_training.pipeline.runner import ItemFailed, Journal, Policy, Progress, failed_file, run_items


@dataclass(frozen=True)
class Numbered:
    id: str


ITEMS = [Numbered(str(n)) for n in range(10)]


async def double(item: Numbered) -> dict[str, Any]:
    # The later ones finish first.
    await asyncio.sleep(0.001 * (10 - int(item.id)))
    return {"twice": 2 * int(item.id)}


async def test_rows_are_in_the_order_of_the_items(tmp_path: Path) -> None:
    rows = await run_items(ITEMS, double, out=tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [item.id for item in ITEMS]
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows
    assert not (tmp_path / "out.jsonl.journal").exists()


async def test_no_more_than_the_limit_are_in_flight(tmp_path: Path) -> None:
    running, most = 0, 0

    async def work(item: Numbered) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return {}

    await run_items(ITEMS, work, out=tmp_path / "out.jsonl", policy=Policy(in_flight=3))
    assert most == 3


async def test_an_interrupted_run_does_only_what_is_left_and_writes_the_same_bytes(tmp_path: Path) -> None:
    asked: list[str] = []

    async def breaking(item: Numbered) -> dict[str, Any]:
        asked.append(item.id)
        if item.id == "6":
            raise DataError("the disk is full")
        return await double(item)

    with pytest.raises(DataError):
        await run_items(ITEMS, breaking, out=tmp_path / "cut.jsonl", policy=Policy(in_flight=1))
    # What a kill in the middle of a write leaves.
    with (tmp_path / "cut.jsonl.journal").open("a") as journal:
        journal.write('{"id": "6", "tw')
    await run_items(ITEMS, breaking_no_more(asked), out=tmp_path / "cut.jsonl")
    await run_items(ITEMS, double, out=tmp_path / "whole.jsonl")
    assert sorted(asked) == sorted([*(item.id for item in ITEMS), "6"])
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def breaking_no_more(asked: list[str]) -> Any:
    async def work(item: Numbered) -> dict[str, Any]:
        asked.append(item.id)
        return await double(item)

    return work


async def test_finished_work_is_read_not_done_again(tmp_path: Path) -> None:
    first = await run_items(ITEMS, double, out=tmp_path / "out.jsonl")

    async def never(item: Numbered) -> dict[str, Any]:
        raise AssertionError(item)

    assert await run_items(ITEMS, never, out=tmp_path / "out.jsonl") == first


async def test_an_item_that_keeps_failing_is_set_aside_with_its_reason_and_counted(tmp_path: Path) -> None:
    tries = 0
    progress: list[Progress] = []

    async def work(item: Numbered) -> dict[str, Any]:
        nonlocal tries
        if item.id == "3":
            tries += 1
            raise BackendUnavailable("502")
        if item.id == "4":
            raise ItemFailed("an empty response")
        return {}

    rows = await run_items(ITEMS, work, out=tmp_path / "out.jsonl", policy=Policy(tries=3), on_progress=progress.append)
    aside = [json.loads(line) for line in failed_file(tmp_path / "out.jsonl").read_text().splitlines()]
    assert aside == [{"id": "3", "failed": "BackendUnavailable: 502"}, {"id": "4", "failed": "an empty response"}]
    assert tries == 3
    assert len(rows) == 8
    assert (max(p.done for p in progress), max(p.failed for p in progress)) == (10, 2)


async def test_a_dead_upstream_ends_the_run_and_sets_nothing_aside(tmp_path: Path) -> None:
    async def dead(item: Numbered) -> dict[str, Any]:
        raise BackendUnavailable("refused")

    with pytest.raises(BackendUnavailable, match="run again"):
        await run_items(ITEMS, dead, out=tmp_path / "out.jsonl", policy=Policy(give_up_after=5))
    assert len(await run_items(ITEMS, double, out=tmp_path / "out.jsonl")) == 10


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(DataError, match="another run"), Journal(tmp_path / "j"):
        pass


async def test_an_upstream_that_dies_near_the_end_ends_the_run_and_sets_nothing_aside(tmp_path: Path) -> None:
    done: list[str] = []

    async def dying(item: Numbered) -> dict[str, Any]:
        if len(done) >= 7:
            raise BackendUnavailable("refused")
        done.append(item.id)
        return await double(item)

    with pytest.raises(BackendUnavailable, match=r"the last 3 items failed.*run again"):
        await run_items(ITEMS, dying, out=tmp_path / "out.jsonl", policy=Policy(in_flight=1))
    rows = await run_items(ITEMS, double, out=tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [item.id for item in ITEMS]
    assert failed_file(tmp_path / "out.jsonl").read_text() == ""


async def test_the_last_item_is_set_aside_if_an_earlier_one_still_succeeds(tmp_path: Path) -> None:
    async def work(item: Numbered) -> dict[str, Any]:
        if item.id == "9":
            raise BackendUnavailable("502")
        return await double(item)

    rows = await run_items(ITEMS, work, out=tmp_path / "out.jsonl", policy=Policy(in_flight=1))
    assert [row["id"] for row in rows] == [item.id for item in ITEMS[:9]]
    assert failed_file(tmp_path / "out.jsonl").read_text() == '{"id": "9", "failed": "BackendUnavailable: 502"}\n'
