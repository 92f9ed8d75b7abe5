"""The pool's rules, on scripted replicas and a manual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing

import pytest

from spar_core.backends.base import is_ready
from spar_core.backends.context import bind_calls
from spar_core.backends.pool import RetryPolicy, conversation_key
from spar_core.backends.pool.retry import RetryBudget
from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)
from spar_core.types import Message
from tests.support.pooling import HELLO, SAMPLING, FakeReplica, Pooled, pooled, settle

LOST = BackendUnavailable("lost")
BUSY = BackendOverloaded("busy", status=429)


# Which endpoint


async def test_all_calls_of_a_search_go_to_one_replica() -> None:
    test = pooled(*(FakeReplica(name) for name in "abcd"))
    homes = set()
    for search in range(20):
        bind_calls(affinity=f"search {search}")
        texts = {
            (await test.pool.complete([Message("user", text)], SAMPLING)).text for text in ("draft", "vote", "refine")
        }
        assert len(texts) == 1
        homes |= texts
    assert homes == set("abcd")


async def test_without_a_key_all_turns_of_a_conversation_go_to_one_replica() -> None:
    test = pooled(*(FakeReplica(name) for name in "abcd"))
    first = [Message("system", "Be brief."), Message("user", "Hi")]
    second = [*first, Message("assistant", "Hello"), Message("user", "Bye")]
    assert (await test.pool.complete(first, SAMPLING)).text == (await test.pool.complete(second, SAMPLING)).text
    assert conversation_key(first) == conversation_key(second) != conversation_key(first[1:])


async def test_a_replica_that_disappears_moves_only_its_own_conversations() -> None:
    async def homes(names: str) -> dict[int, str]:
        test = pooled(*(FakeReplica(name) for name in names))
        return {
            number: (await test.pool.complete([Message("user", str(number))], SAMPLING)).text for number in range(100)
        }

    before, after = await homes("abcd"), await homes("abd")
    assert all(after[number] == home for number, home in before.items() if home != "c")
    assert min(Counter(before.values()).values()) > 10


async def test_a_home_that_is_much_busier_sends_calls_to_the_least_loaded() -> None:
    test = pooled(*(FakeReplica(name) for name in "abc"))
    for replica in test.replicas:
        replica.hold()
    bind_calls(affinity="one search")
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(test.ask()) for _ in range(17)]
        await settle()
        # More calls than one judgement stay together.
        assert sorted(replica.running for replica in test.replicas) == [0, 0, 17]
        calls += [group.create_task(test.ask()) for _ in range(100)]
        await settle()
        loads = sorted(replica.running for replica in test.replicas)
        assert loads[2] <= 2 * loads[0] + 17
        assert loads[0] >= loads[1] - 1
        for replica in test.replicas:
            replica.gate.set()


# Slots


async def test_calls_over_the_limit_wait_and_start_in_order_of_arrival() -> None:
    test = pooled(FakeReplica(), max_concurrency=2)
    [replica] = test.replicas
    replica.hold()
    done: list[int] = []

    async def ask(number: int) -> None:
        await test.ask()
        done.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(7):
            group.create_task(ask(number))
        await settle()
        assert (replica.running, replica.calls) == (2, 2)
        replica.gate.set()
    assert done == list(range(7))


async def test_the_wait_for_a_slot_ends_at_the_deadline() -> None:
    test = pooled(FakeReplica(), max_concurrency=1)
    test.replicas[0].hold()
    running = asyncio.create_task(test.ask())
    await settle()
    bind_calls(deadline=test.clock.now + 0.05)
    with pytest.raises(BackendTimeout, match="capacity"):
        await test.ask()
    test.replicas[0].gate.set()
    assert await running == "a"
    assert test.replicas[0].calls == 1


async def test_calls_cancelled_while_waiting_or_running_lose_no_slot() -> None:
    test = pooled(FakeReplica("a"), FakeReplica("b"), max_concurrency=2)
    for replica in test.replicas:
        replica.hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(12)]
    await settle()
    for call in calls[::2]:
        call.cancel()
    # The slots of cancelled calls are passed on, some to calls that are cancelled at the same moment.
    await asyncio.sleep(0)
    for call in calls[1:8:2]:
        call.cancel()
    for replica in test.replicas:
        replica.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 2
    for replica in test.replicas:
        replica.hold()
    again = [asyncio.create_task(test.ask()) for _ in range(4)]
    await settle()
    assert [replica.running for replica in test.replicas] == [2, 2]
    for replica in test.replicas:
        replica.gate.set()
    await asyncio.gather(*again)


async def test_a_stream_that_is_closed_early_releases_its_slot() -> None:
    test = pooled(FakeReplica(after="so"), max_concurrency=1)
    for _ in range(3):
        async with aclosing(test.pool.stream(HELLO, SAMPLING)) as deltas:
            assert (await anext(deltas)).text == "so"
    assert test.notes.calls == [(0, "cancelled")] * 3
    assert test.replicas[0].running == 0


# Retries


@pytest.mark.parametrize(
    "error",
    [LOST, BUSY, BackendOverloaded("busy", status=503), BackendUnavailable("x", status=500), BackendTimeout("late")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_temporary_failures_are_retried_elsewhere(error: BackendError, stream: bool) -> None:
    retries = 0
    for search in range(10):
        test = pooled(FakeReplica("a", outcomes=[error]), FakeReplica("b", outcomes=[error]), FakeReplica("c"))
        bind_calls(affinity=str(search))
        assert await test.clock.finish(_streamed(test) if stream else test.ask()) == "c"
        assert max(replica.calls for replica in test.replicas) == 1
        assert len(test.notes.retries) == len(test.notes.calls) - 1
        retries += len(test.notes.retries)
    assert retries > 5


async def _streamed(test: Pooled) -> str:
    return "".join([delta.text async for delta in test.pool.stream(HELLO, SAMPLING)])


@pytest.mark.parametrize("error", [BackendRejected("no", status=400), BackendProtocol("garbled")])
async def test_refusals_and_malformed_answers_are_not_retried(error: BackendError) -> None:
    test = pooled(FakeReplica(outcomes=[error]))
    with pytest.raises(type(error)):
        await test.ask()
    assert (test.replicas[0].calls, test.clock.slept) == (1, [])


async def test_a_stream_with_delivered_deltas_is_not_retried() -> None:
    test = pooled(FakeReplica("a", after="so ", outcomes=[LOST]), FakeReplica("b", after="so ", outcomes=[LOST]))
    async with aclosing(test.pool.stream(HELLO, SAMPLING)) as deltas:
        assert (await anext(deltas)).text == "so "
        with pytest.raises(BackendUnavailable):
            await anext(deltas)
    assert sum(replica.calls for replica in test.replicas) == 1


async def test_backoff_doubles_under_full_jitter_and_retries_end() -> None:
    test = pooled(FakeReplica(outcomes=[BUSY] * 9), retry=RetryPolicy(retries=4, base_s=0.1, cap_s=0.4))
    with pytest.raises(BackendOverloaded):
        await test.clock.finish(test.ask())
    assert test.clock.slept == pytest.approx([0.05, 0.1, 0.2, 0.2])
    assert test.replicas[0].calls == 5


async def test_retry_after_is_honoured() -> None:
    test = pooled(FakeReplica(outcomes=[BackendOverloaded("busy", status=429, retry_after=7)]))
    assert await test.clock.finish(test.ask()) == "a"
    assert test.clock.slept == [7]


async def test_retry_after_of_one_replica_does_not_hold_back_another() -> None:
    test = pooled(*(FakeReplica(name) for name in "ab"))
    home = await test.ask()
    first, second = sorted(test.replicas, key=lambda replica: replica.name != home)
    first.outcomes = [BackendOverloaded("busy", status=503, retry_after=7)]
    assert await test.clock.finish(test.ask()) == second.name
    assert max(test.clock.slept) < 1
    # Nor is it called before its pause ends.
    assert await test.ask() == second.name
    await test.clock.advance(7)
    assert await test.ask() == first.name


async def test_a_pause_that_is_too_long_is_reported_to_the_client() -> None:
    test = pooled(FakeReplica(outcomes=[BackendOverloaded("busy", status=429, retry_after=60)]))
    with pytest.raises(BackendOverloaded) as caught:
        await test.ask()
    assert caught.value.retry_after == 60
    assert test.clock.slept == []


async def test_no_retry_waits_beyond_the_deadline() -> None:
    test = pooled(FakeReplica(outcomes=[BackendOverloaded("busy", status=429, retry_after=5)] * 2))
    bind_calls(deadline=test.clock.now + 8)
    with pytest.raises(BackendOverloaded):
        await test.clock.finish(test.ask())
    assert test.clock.slept == [5]


async def test_retries_stay_within_a_fifth_of_the_calls_and_a_small_burst() -> None:
    policy = RetryPolicy(retries=3, burst=10, ratio=0.2)
    # A quota is not a fault, so the breaker stays closed.
    test = pooled(FakeReplica(outcomes=[BUSY] * 10_000), retry=policy)
    await test.failures(200)
    assert len(test.notes.retries) == pytest.approx(10 + 0.2 * 200, abs=2)


def test_the_retry_budget_refills_to_its_burst_and_no_further() -> None:
    budget = RetryBudget(RetryPolicy(burst=2, ratio=0.5))
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.called()
    assert not budget.spend()
    for _ in range(100):
        budget.called()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


async def test_calls_whose_replica_dies_all_move_to_the_other() -> None:
    dead, other = FakeReplica("a", outcomes=[LOST] * 99, living=False), FakeReplica("b")
    test = pooled(dead, other, max_concurrency=50)
    dead.hold()
    other.hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(100)]
    await settle()
    assert (dead.running, other.running) == (50, 50)
    dead.gate.set()
    await settle()
    other.gate.set()
    await test.clock.advance(0.2)
    # More than the retry budget: lost connections move work and add none.
    assert await asyncio.gather(*calls) == ["b"] * 100
    assert dead.calls == 50
    await test.pool.aclose()


async def test_waiting_calls_fail_when_the_last_endpoint_dies() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 99, living=False), max_concurrency=5, retry=RetryPolicy(retries=0))
    test.replicas[0].hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(12)]
    await settle()
    test.replicas[0].gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, BackendUnavailable) for result in results)
    # Waiting calls are not sent to a server that is known to be dead.
    assert test.replicas[0].calls <= 10
    await test.pool.aclose()


# Health


async def test_failures_in_a_row_open_the_breaker_and_the_error_is_raised_at_once() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 99, living=False), retry=RetryPolicy(retries=0))
    await test.failures(5)
    with pytest.raises(BackendUnavailable, match="alive"):
        await test.ask()
    assert test.replicas[0].calls == 5
    assert not await test.pool.ready()
    assert test.notes.breakers == [(0, "closed"), (0, "open")]
    await test.pool.aclose()


async def test_failures_that_are_not_in_a_row_or_no_fault_do_not_open_it() -> None:
    fine: list[str | BaseException] = [LOST, LOST, LOST, LOST, "fine"]
    outcomes = [*fine * 3, *[BUSY] * 9, *[BackendProtocol("garbled")] * 9]
    test = pooled(FakeReplica(outcomes=outcomes), retry=RetryPolicy(retries=0))
    await test.failures(33)
    assert test.notes.breakers == [(0, "closed")]


async def test_a_replica_that_comes_back_is_probed_tried_once_and_used() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 5, living=False), retry=RetryPolicy(retries=0))
    [replica] = test.replicas
    await test.failures(5)
    await test.clock.advance(3.5)
    assert replica.probes == 3
    replica.living = True
    await test.clock.advance(1)
    assert await test.pool.ready()
    replica.hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(4)]
    await settle()
    # One trial; the others wait for its result.
    assert replica.running == 1
    replica.gate.set()
    assert await asyncio.gather(*calls) == ["a"] * 4
    assert [state for _, state in test.notes.breakers] == ["closed", "open", "half_open", "closed"]
    probes = replica.probes
    await test.clock.advance(60)
    assert replica.probes == probes


async def test_a_trial_that_fails_opens_the_breaker_for_twice_as_long() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 7), retry=RetryPolicy(retries=0))
    await test.failures(5)
    for pause in (1, 2, 4):
        await test.clock.advance(pause - 0.1)
        with pytest.raises(BackendUnavailable, match="alive"):
            await test.ask()
        await test.clock.advance(0.1)
        await test.failures(1)
    assert [state for _, state in test.notes.breakers] == ["closed", *["open", "half_open"] * 3, "closed"]


async def test_a_trial_that_is_cancelled_makes_room_for_the_next() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 5), retry=RetryPolicy(retries=0))
    [replica] = test.replicas
    await test.failures(5)
    await test.clock.advance(1)
    replica.hold()
    trial, waiting = asyncio.create_task(test.ask()), asyncio.create_task(test.ask())
    await settle()
    trial.cancel()
    await settle()
    replica.gate.set()
    assert await waiting == "a"


async def test_the_first_words_of_a_streamed_trial_close_the_breaker() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 5, after=""), retry=RetryPolicy(retries=0))
    await test.failures(5)
    await test.clock.advance(1)
    async with aclosing(test.pool.stream(HELLO, SAMPLING)) as deltas:
        await anext(deltas)
        assert test.notes.breakers[-1] == (0, "closed")


async def test_a_dead_replica_gets_no_calls_while_another_lives() -> None:
    test = pooled(FakeReplica("a", outcomes=[LOST] * 99, living=False), FakeReplica("b"))
    for number in range(60):
        bind_calls(affinity=str(number))
        assert await test.clock.finish(test.ask()) == "b"
    assert test.replicas[0].calls == 5
    assert await test.pool.ready()
    await test.pool.aclose()


async def test_an_endpoint_that_has_not_answered_recently_is_probed() -> None:
    test = pooled(FakeReplica("a", living=False), FakeReplica("b", living=False))
    assert not await is_ready(test.pool)
    await test.ask()
    probes = sum(replica.probes for replica in test.replicas)
    assert await is_ready(test.pool)
    assert sum(replica.probes for replica in test.replicas) == probes
    await test.clock.advance(10)
    assert not await is_ready(test.pool)


async def test_a_backend_that_cannot_tell_is_ready() -> None:
    assert await is_ready(ScriptedBackend(always("x")))


async def test_closing_ends_the_probes_and_closes_the_replicas() -> None:
    before = asyncio.all_tasks()
    test = pooled(FakeReplica("a", outcomes=[LOST] * 99, living=False), retry=RetryPolicy(retries=0))
    await test.failures(5)
    assert len(asyncio.all_tasks()) == len(before) + 1
    await test.pool.aclose()
    assert asyncio.all_tasks() == before
    assert test.replicas[0].closed


# Forwarded requests


async def passed_through(test: Pooled, said: list[str]) -> list[str]:
    said.extend([piece["text"] async for piece in test.pool.forward_stream("/completions", {"prompt": "x"})])
    return said


async def test_forwarded_requests_are_retried_elsewhere_like_chats() -> None:
    first, second = FakeReplica("a", outcomes=[LOST]), FakeReplica("b", outcomes=[LOST])
    test = pooled(first, second)
    answer = await test.clock.finish(test.pool.forward("/completions", {"prompt": "x"}))
    assert answer["path"] == "/completions"
    assert first.calls + second.calls == 3
    first, second = FakeReplica("a", outcomes=[LOST]), FakeReplica("b", outcomes=[LOST])
    test = pooled(first, second)
    assert await test.clock.finish(passed_through(test, [])) in (["a", ""], ["b", ""])
    assert first.calls + second.calls == 3


async def test_a_forwarded_stream_that_has_started_is_not_retried() -> None:
    replica = FakeReplica(after="One", outcomes=[LOST])
    test = pooled(replica)
    with pytest.raises(BackendUnavailable):
        await test.clock.finish(passed_through(test, []))
    assert replica.calls == 1


async def test_equal_prompts_go_to_one_replica_and_different_ones_to_all() -> None:
    test = pooled(*(FakeReplica(name) for name in "abcd"))
    for field in ("prompt", "input"):
        homes = [(await test.pool.forward("/x", {field: f"text {number % 20}"}))["text"] for number in range(40)]
        assert homes[:20] == homes[20:]
        assert set(homes) == set("abcd")
