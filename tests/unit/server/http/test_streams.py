"""Frames that are there together go on together; nothing is lost, and nothing is read without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from spar_server.http.streams import read_ahead


async def test_everything_that_has_arrived_is_one_batch_without_waiting() -> None:
    go = asyncio.Event()

    async def frames() -> AsyncGenerator[str, None]:
        yield "a"
        yield "b"
        await go.wait()
        yield "c"

    pieces = read_ahead(frames())
    assert await anext(pieces) == ["a", "b"]
    go.set()
    assert [piece async for piece in pieces] == [["c"]]


async def test_a_failure_comes_after_the_deltas_before_it() -> None:
    async def frames() -> AsyncGenerator[str, None]:
        yield "a"
        raise ValueError("b")

    pieces = read_ahead(frames())
    assert await anext(pieces) == ["a"]
    with pytest.raises(ValueError, match="b"):
        await anext(pieces)


async def test_closing_it_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            await asyncio.sleep(60)
        finally:
            closed.set()

    pieces = read_ahead(frames())
    assert await anext(pieces) == ["a"]
    await pieces.aclose()
    assert closed.is_set()


async def test_a_slow_reader_holds_the_stream_back() -> None:
    made = 0

    async def frames() -> AsyncGenerator[str, None]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield "x"

    pieces = read_ahead(frames())
    first = await anext(pieces)
    await asyncio.sleep(0)
    assert made < 1_000
    assert len(first) + sum([len(piece) async for piece in pieces]) == 10_000
