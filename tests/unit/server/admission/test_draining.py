"""When a stopping server refuses requests, cuts them short and exits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from spar_server.admission.draining import Draining
from spar_server.errors import ApiError


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def test_it_leaves_when_nothing_runs_and_not_before_the_delay() -> None:
    clock = Clock()
    draining = Draining(grace_s=30, delay_s=2, clock=clock)
    assert (draining.started, draining.tick()) == (False, False)
    draining.start()
    assert (draining.started, draining.tick()) == (True, False)
    clock.now += 2
    draining.generation.running = 1
    assert not draining.tick()
    draining.generation.running = 0
    assert draining.tick()
    assert not draining.cutoff.reached


@pytest.mark.parametrize("grace_s", [1.0, 30.0, 300.0])
async def test_what_runs_is_cut_before_the_grace_time_ends_and_then_it_leaves(grace_s: float) -> None:
    clock = Clock()
    draining = Draining(grace_s=grace_s, delay_s=0, clock=clock)
    draining.generation.running = 1
    draining.start()
    clock.now += 0.7 * grace_s
    assert (draining.tick(), draining.cutoff.reached) == (False, False)
    clock.now = grace_s - min(3.0, 0.2 * grace_s)
    assert (draining.tick(), draining.cutoff.reached) == (False, True)
    clock.now = grace_s
    assert draining.tick()


async def test_it_reports_what_it_waits_for() -> None:
    clock = Clock()
    draining = Draining(grace_s=30, delay_s=5, clock=clock)
    assert draining.waiting_for() == ""
    draining.start()
    assert draining.waiting_for() == "keeping the port open for another 5 s (shutdown_delay_s)"
    draining.generation.running = 2
    clock.now += 7
    assert draining.waiting_for() == "waiting up to 20 s for 2 requests that are running"
    draining.generation.running = 0
    assert draining.waiting_for() == ""


async def test_a_second_signal_cuts_off_what_runs_and_leaves_when_it_is_answered() -> None:
    draining = Draining(grace_s=30, delay_s=10, clock=Clock())
    draining.generation.running = 1
    draining.start()
    draining.start()
    assert (draining.tick(), draining.cutoff.reached) == (False, True)
    draining.generation.running = 0
    assert draining.tick()


async def test_after_a_second_signal_no_request_holds_it_up_for_long() -> None:
    clock = Clock()
    draining = Draining(grace_s=3600, delay_s=10, clock=clock)
    draining.generation.running = 1
    draining.start()
    draining.start()
    assert not draining.tick()
    clock.now += 2
    assert draining.tick()


@dataclass
class Source:
    """Frames, then silence."""

    count: int = 1
    silent: bool = True
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    async def frames(self) -> AsyncGenerator[str, None]:
        try:
            for number in range(self.count):
                yield str(number)
            if self.silent:
                self.reading.set()
                await asyncio.sleep(3600)
        finally:
            self.closed = True


async def read(draining: Draining, source: Source) -> str:
    async with aclosing(draining.until_cutoff(source.frames())) as pieces:
        return "".join([piece async for piece in pieces])


async def test_frames_that_end_in_time_are_all_there() -> None:
    source = Source(count=3, silent=False)
    assert await read(Draining(grace_s=1, delay_s=0), source) == "012"
    assert source.closed


async def test_a_waiting_reader_gets_an_error_at_the_cutoff() -> None:
    draining, source = Draining(grace_s=1, delay_s=0), Source()
    task = asyncio.create_task(read(draining, source))
    await source.reading.wait()
    draining.cutoff.now()
    with pytest.raises(ApiError) as stopped:
        await asyncio.wait_for(task, 60)
    assert (stopped.value.status, stopped.value.code, source.closed) == (503, "server_stopping", True)


async def test_a_slow_reader_gets_the_error_when_it_reads_on() -> None:
    draining, source = Draining(grace_s=1, delay_s=0), Source(count=2)
    async with aclosing(draining.until_cutoff(source.frames())) as frames:
        # By one task, as the first piece of a stream is; the rest is read by another.
        assert await asyncio.create_task(anext(frames)) == "0"
        draining.cutoff.now()
        await asyncio.sleep(0)
        with pytest.raises(ApiError):
            await anext(frames)
    assert source.closed


async def test_a_stream_that_never_waits_ends_at_the_cutoff_too() -> None:
    draining, source = Draining(grace_s=1, delay_s=0), Source(count=1000, silent=False)
    async with aclosing(draining.until_cutoff(source.frames())) as frames:
        assert await anext(frames) == "0"
        draining.cutoff.now()
        with pytest.raises(ApiError):
            await anext(frames)
    assert source.closed


async def test_a_client_that_goes_at_the_cutoff_is_gone() -> None:
    draining, source = Draining(grace_s=1, delay_s=0), Source()
    task = asyncio.create_task(read(draining, source))
    await source.reading.wait()
    task.cancel()
    draining.cutoff.now()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed
