"""Callers share an upstream: however many calls one makes, another's only wait for the next free slot."""

from __future__ import annotations

import asyncio

import pytest

from spar_core.backends.context import Caller, bind_calls
from spar_core.backends.pool import PoolBackend
from spar_core.types import Completion, Message, Sampling
from tests.support.pooling import HELLO, SAMPLING, FakeReplica, settle


class Room:
    """One replica with so many slots, whose calls end on command; `began` lists the calls that have started."""

    def __init__(self, places: int) -> None:
        self.began: list[str] = []
        self.doors: list[asyncio.Event] = []
        room = self

        class Replica(FakeReplica):
            supports_n = True

            async def complete(self, messages, sampling):  # type: ignore[no-untyped-def]
                return (await self.complete_many(messages, sampling, 1))[0]

            async def forward(self, path, body):  # type: ignore[no-untyped-def]
                await self.complete([Message("user", "forwarded")], SAMPLING)
                return {}

            async def complete_many(self, messages: list[Message], sampling: Sampling, count: int) -> list[Completion]:
                room.began.append(messages[0].text)
                room.doors.append(asyncio.Event())
                await room.doors[-1].wait()
                return [Completion("", "stop", usage=None)] * count  # type: ignore[arg-type]

        self.pool = PoolBackend([Replica()], max_concurrency=places)
        self.tasks: list[asyncio.Task[object]] = []

    async def call(self, caller: Caller, number: int = 1, *, completions: int = 1) -> None:
        async def one() -> object:
            bind_calls(caller=caller)
            said = [Message("user", caller.name)]
            if completions > 1:
                return await self.pool.complete_many(said, SAMPLING, completions)
            return await self.pool.complete(said, SAMPLING)

        self.tasks += [asyncio.create_task(one()) for _ in range(number)]
        await settle()

    async def end(self, number: int) -> None:
        """End the `number`-th call that started."""
        self.doors[number].set()
        await settle()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_the_next_free_slot_goes_to_the_caller_with_the_fewest_calls() -> None:
    room = Room(4)
    await room.call(Caller("flood"), 20)
    await room.call(Caller("other"), 2)
    assert room.began == ["flood"] * 4
    for number in range(4):
        await room.end(number)
    # Its two calls are next, however many calls of the flood arrived earlier.
    assert room.began[4:] == ["other", "other", "flood", "flood"]
    await room.close()


async def test_callers_share_by_weight() -> None:
    room = Room(8)
    await room.call(Caller("x"), 8)
    await room.call(Caller("light"), 20)
    await room.call(Caller("heavy", weight=3), 20)
    for number in range(8):
        await room.end(number)
    assert room.began[8:].count("heavy") == 6
    await room.close()


async def test_a_share_leaves_room_for_others_at_once() -> None:
    room = Room(10)
    await room.call(Caller("flood", share=0.5), 20)
    assert room.began == ["flood"] * 5
    await room.call(Caller("other", share=0.5))
    assert room.began[5:] == ["other"]
    await room.end(0)
    assert room.began[6:] == ["flood"]
    await room.close()


async def test_a_caller_never_exceeds_its_limit_of_concurrent_calls() -> None:
    room = Room(10)
    await room.call(Caller("a", most_calls=2), 5)
    assert room.began == ["a"] * 2
    await room.end(0)
    assert len(room.began) == 3
    await room.close()


async def test_each_completion_of_one_request_counts_as_a_call() -> None:
    room = Room(10)
    await room.call(Caller("judge", share=0.5), 3, completions=5)
    assert room.began == ["judge"]
    await room.close()


@pytest.mark.parametrize(
    ("body", "at_once"), [({"prompt": ["x"] * 2}, 2), ({"prompt": [[1], [2]], "n": 2}, 1), ({"prompt": [1, 2, 3]}, 5)]
)
async def test_each_prompt_of_one_request_counts_as_a_call(body: dict[str, object], at_once: int) -> None:
    room = Room(10)

    async def send() -> object:
        bind_calls(caller=Caller("a", share=0.5))
        return await room.pool.forward("/completions", body)

    room.tasks += [asyncio.create_task(send()) for _ in range(8)]
    await settle()
    assert len(room.began) == at_once
    await room.close()


async def test_a_request_over_the_share_runs_as_its_callers_only_one() -> None:
    room = Room(10)
    await room.call(Caller("judge", share=0.5), 2, completions=9)
    assert room.began == ["judge"]
    await room.end(0)
    assert room.began == ["judge"] * 2
    await room.close()


async def test_a_single_caller_has_all_slots_and_its_calls_stay_in_order() -> None:
    room = Room(3)
    await room.call(Caller("only"), 9)
    assert len(room.began) == 3
    for number in range(6):
        await room.end(number)
    assert len(room.began) == 9
    await room.close()


async def test_a_call_that_stops_waiting_leaves_the_slots_to_others() -> None:
    room = Room(1)
    await room.call(Caller("a"), 3)
    await room.call(Caller("b"))
    for task in room.tasks[1:3]:
        task.cancel()
    await settle()
    await room.end(0)
    assert room.began == ["a", "b"]
    await room.close()


async def test_a_pool_without_callers_serves_first_come_first_served() -> None:
    pool = PoolBackend([FakeReplica()], max_concurrency=1)
    assert [(await pool.complete(HELLO, SAMPLING)).text for _ in range(3)] == ["a"] * 3
