"""How much runs at once, which requests wait, which are refused, and when to retry them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar_server.admission.lane import Lane
from spar_server.errors import ApiError

LONG = 3600.0


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Office:
    """Requests to one lane that run until the test ends them."""

    lane: Lane
    running: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    refused: dict[str, ApiError] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    doors: dict[str, asyncio.Event] = field(default_factory=dict)

    async def come(self, name: str, cost: int = 1, *, weight: float = 1.0, wait_s: float = LONG) -> None:
        """`name` begins with its key: `a1` is the first of a."""
        door = self.doors[name] = asyncio.Event()

        async def stay() -> None:
            try:
                permit = await self.lane.acquire(name[0], cost, weight=weight, wait_s=wait_s)
            except ApiError as error:
                self.refused[name] = error
                return
            self.running.append(name)
            self.started.append(name)
            try:
                await door.wait()
            finally:
                self.running.remove(name)
                self.lane.release(permit)

        self.tasks[name] = asyncio.create_task(stay())
        await settle()

    async def end(self, name: str) -> None:
        self.doors[name].set()
        await settle()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await settle()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(8):
        await asyncio.sleep(0)


@asynccontextmanager
async def office(
    capacity: int, max_queue: int = 100, clock: Clock | None = None, key_share: float = 1.0
) -> AsyncIterator[Office]:
    place = Office(Lane(capacity=capacity, max_queue=max_queue, key_share=key_share, clock=clock or Clock()))
    try:
        yield place
    finally:
        for task in place.tasks.values():
            task.cancel()
        await asyncio.gather(*place.tasks.values(), return_exceptions=True)
        assert (place.lane.running, place.lane.waiting) == (0, 0)


async def test_what_fits_runs_and_the_rest_waits_for_it_to_end() -> None:
    async with office(10) as place:
        for name in ("a1", "a2", "a3"):
            await place.come(name, 5)
        assert place.running == ["a1", "a2"]
        await place.end("a1")
        assert place.running == ["a2", "a3"]


async def test_a_request_that_costs_more_than_the_lane_runs_alone() -> None:
    async with office(10) as place:
        await place.come("a1", 1)
        await place.come("a2", 65)
        assert place.running == ["a1"]
        await place.end("a1")
        assert place.running == ["a2"]
        await place.come("b1", 1)
        assert place.running == ["a2"]


async def test_another_keys_request_goes_before_the_queued_searches_of_a_busy_one() -> None:
    async with office(65) as place:
        for number in range(5):
            await place.come(f"a{number}", 65)
        await place.come("b1", 3)
        await place.end("a0")
        assert place.started == ["a0", "b1"]


async def test_small_requests_do_not_pass_by_a_large_one_forever() -> None:
    async with office(10) as place:
        for number in range(10):
            await place.come(f"s{number}")
        await place.come("l0", 10)
        for number in range(10):
            await place.end(f"s{number}")
            await place.come(f"s{number + 10}")
        assert place.running == ["l0"]


async def test_a_key_that_fills_its_share_leaves_room_for_another_at_once() -> None:
    async with office(100, key_share=0.5) as place:
        for number in range(10):
            await place.come(f"a{number}", 25)
        assert place.running == ["a0", "a1"]
        await place.come("b0", 50)
        assert place.running == ["a0", "a1", "b0"]
        await place.end("a0")
        assert place.running == ["a1", "b0", "a2"]


async def test_a_request_that_costs_more_than_its_keys_share_runs_alongside_others() -> None:
    async with office(100, key_share=0.5) as place:
        await place.come("a0", 10_000)
        await place.come("a1", 1)
        await place.come("b0", 50)
        assert place.running == ["a0", "b0"]
        await place.end("a0")
        assert place.running == ["b0", "a1"]


async def test_the_expected_wait_includes_the_keys_own_share() -> None:
    clock = Clock()
    async with office(100, key_share=0.5, clock=clock) as place:
        await place.come("b0", 50)
        clock.now += 10
        await place.end("b0")
        for number in range(8):
            await place.come(f"a{number}", 50)
        await place.come("a8", 50, wait_s=30)
        assert place.refused["a8"].retry_after is not None
        assert place.refused["a8"].retry_after > 30
        await place.come("b1", 50, wait_s=0)
        assert place.running == ["a0", "b1"]


async def test_a_client_that_disconnects_frees_its_place_in_the_queue() -> None:
    async with office(10, max_queue=1) as place:
        await place.come("a1", 10)
        await place.come("a2", 10)
        await place.leave("a2")
        await place.come("a3", 10)
        assert not place.refused
        await place.end("a1")
        assert place.running == ["a3"]


async def test_a_large_request_that_leaves_the_queue_lets_smaller_ones_in() -> None:
    async with office(10) as place:
        await place.come("a1", 5)
        await place.come("b1", 10)
        await place.come("c1", 5)
        assert place.running == ["a1"]
        await place.leave("b1")
        assert place.running == ["a1", "c1"]


async def test_a_client_that_disconnects_when_its_turn_comes_returns_its_permit() -> None:
    async with office(10) as place:
        for name in ("a1", "a2", "a3"):
            await place.come(name, 10)
        place.doors["a1"].set()
        await asyncio.sleep(0)
        # Its turn is given to it in this very step, or the next.
        place.tasks["a2"].cancel()
        await settle()
        assert place.running == ["a3"]


async def test_a_full_queue_is_a_503() -> None:
    async with office(1, max_queue=2) as place:
        for name in ("a1", "a2", "a3", "a4"):
            await place.come(name)
        error = place.refused["a4"]
        assert (error.status, error.code) == (503, "server_overloaded")
        assert error.headers["Retry-After"] == "1"


async def test_a_full_queue_takes_from_the_key_that_has_most_of_it() -> None:
    async with office(1, max_queue=3) as place:
        for name in ("a1", "a2", "a3", "a4", "b1"):
            await place.come(name)
        assert list(place.refused) == ["a4"]
        await place.come("b2")
        # Both keys have as much of the queue as the other can ask for.
        assert list(place.refused) == ["a4", "b2"]


async def test_a_wait_that_would_be_too_long_is_refused_at_once_with_its_length() -> None:
    clock = Clock()
    async with office(10, clock=clock) as place:
        await place.come("a1", 10)
        clock.now += 20
        await place.end("a1")
        # From here on a lane's worth of requests is known to take 20 s.
        await place.come("a2", 10)
        await place.come("a3", 5, wait_s=19)
        await place.come("a4", 10, wait_s=19)
        error = place.refused["a4"]
        assert error.status == 503
        # Its own 10 and the 5 before it must become free.
        assert error.retry_after == pytest.approx(30)
        assert place.lane.waiting == 1


async def test_a_wait_that_turns_out_too_long_is_a_503_and_leaves_the_queue() -> None:
    async with office(1) as place:
        await place.come("a1")
        await place.come("a2", wait_s=0.01)
        await asyncio.wait_for(place.tasks["a2"], 60)
        assert place.refused["a2"].status == 503
        assert place.lane.waiting == 0


async def test_the_load_counts_what_runs_and_what_waits() -> None:
    loads: list[float] = []
    lane = Lane(capacity=4, max_queue=9, on_load=loads.append)
    place = Office(lane)
    for name in ("a1", "a2"):
        await place.come(name, 4)
    for name in ("a1", "a2"):
        await place.end(name)
    assert loads == [1.0, 2.0, 1.0, 0.0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abc"), st.integers(1, 30), st.sampled_from([0.5, 1.0, 3.0])),
        st.tuples(st.just("end"), st.integers(0, 40), st.just(0), st.just(0.0)),
        st.tuples(st.just("leave"), st.integers(0, 40), st.just(0), st.just(0.0)),
        st.tuples(st.just("end and leave"), st.integers(0, 40), st.integers(0, 40), st.just(0.0)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 20), st.integers(0, 6), STEPS)
def test_the_capacity_holds_every_permit_is_released_and_everyone_gets_a_turn(
    capacity: int, max_queue: int, steps: list[tuple[str, str | int, int, float]]
) -> None:
    async def run() -> None:
        async with office(capacity, max_queue) as place:
            costs: dict[str, int] = {}
            left: set[str] = set()
            for what, which, other, weight in steps:
                names = list(place.tasks)
                if what == "come":
                    name = f"{which}{len(names)}"
                    costs[name] = min(other, capacity)
                    await place.come(name, other, weight=weight)
                elif names:
                    name = names[int(which) % len(names)]
                    if what in ("end", "end and leave"):
                        place.doors[name].set()
                    if what == "leave" or what == "end and leave":
                        leaver = name if what == "leave" else names[other % len(names)]
                        await asyncio.sleep(0)
                        place.tasks[leaver].cancel()
                        left.add(leaver)
                    await settle()
                assert place.lane.running == sum(costs[name] for name in place.running) <= capacity
                assert place.lane.waiting <= max_queue
            for door in place.doors.values():
                door.set()
            await asyncio.wait_for(asyncio.gather(*place.tasks.values(), return_exceptions=True), 60)
            assert set(place.started) | set(place.refused) | left == set(place.tasks)

    asyncio.run(run())


async def test_without_waiting_a_permit_is_granted_only_if_there_is_room_and_no_queue() -> None:
    async with office(10) as place:
        permit = place.lane.try_acquire("a", 8, weight=1.0)
        assert permit is not None
        assert place.lane.running == 8
        assert place.lane.try_acquire("b", 3, weight=1.0) is None
        await place.come("c1", 3)
        # There is room for it, but another is before it.
        assert place.lane.try_acquire("b", 2, weight=1.0) is None
        place.lane.release(permit)
        await settle()
        assert place.running == ["c1"]
