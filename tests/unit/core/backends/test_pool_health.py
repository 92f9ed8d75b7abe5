"""When a pool stops calling an endpoint: faulty requests, trials, pauses."""

from __future__ import annotations

import asyncio

import pytest

from spar_core.backends.context import bind_calls
from spar_core.backends.pool import RetryPolicy
from spar_core.errors import BackendError, BackendOverloaded, BackendTimeout, BackendUnavailable
from tests.support.pooling import BROKEN, POISON, FakeReplica, Pooled, pooled, settle

LOST = BackendUnavailable("lost")
LATE = BackendTimeout("upstream answered 504", status=504)
ONCE = RetryPolicy(retries=0)


# Whose fault it is


async def test_a_call_counts_once_with_all_its_retries() -> None:
    test = pooled(FakeReplica(outcomes=[LOST] * 99, living=False), retry=RetryPolicy(retries=2))
    await test.failures(4)
    assert test.replicas[0].calls == 12
    assert test.states == ["closed"]
    await test.failures(1)
    assert test.states == ["closed", "open"]
    await test.pool.aclose()


async def test_a_failure_that_the_same_replica_answers_on_retry_does_not_count_against_it() -> None:
    test = pooled(FakeReplica(outcomes=[BROKEN, "well", *[LOST] * 8]), retry=RetryPolicy(retries=1))
    assert await test.clock.finish(test.ask()) == "well"
    await test.failures(4)
    assert await test.ask() == "a"
    assert test.states == ["closed"]


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
async def test_requests_that_no_replica_can_answer_open_no_breaker(names: str) -> None:
    test = pooled(*(FakeReplica(name) for name in names))
    for _ in range(20):
        await test.failures(3, POISON)
        await test.clock.advance(10)
    assert {state for _, state in test.notes.breakers} == {"closed"}
    assert await test.clock.finish(test.ask()) in names


async def test_doubtful_endpoints_are_probed_now_and_then() -> None:
    test = pooled(FakeReplica(), retry=ONCE)
    await test.failures(50, POISON)
    await settle()
    assert test.replicas[0].probes == 1
    await test.clock.advance(5)
    await test.failures(50, POISON)
    await settle()
    assert test.replicas[0].probes == 2


async def test_gateway_timeouts_open_no_breaker_of_a_server_that_is_alive() -> None:
    test = pooled(FakeReplica(outcomes=[LATE] * 20), retry=ONCE)
    await test.failures(20)
    assert await test.ask() == "a"
    assert test.states == ["closed"]


@pytest.mark.parametrize("error", [BROKEN, LATE])
async def test_a_replica_that_fails_what_another_answers_is_taken_out(error: BackendError) -> None:
    test = pooled(FakeReplica("a", outcomes=[error] * 99), FakeReplica("b"))
    for number in range(60):
        bind_calls(affinity=str(number))
        assert await test.clock.finish(test.ask()) == "b"
    assert test.replicas[0].calls < 15
    assert test.states[:2] == ["closed", "open"]
    await test.pool.aclose()


async def test_a_trial_that_another_replica_answers_opens_the_breaker_for_twice_as_long() -> None:
    test = pooled(FakeReplica("a", outcomes=[BROKEN] * 99), FakeReplica("b"))
    for number in range(200):
        bind_calls(affinity=str(number))
        assert await test.clock.finish(test.ask()) == "b"
        await test.clock.advance(0.5)
    # 100 s and more: five calls, and a trial after each of 1, 2, 4, 8, 16, 30, 30 s.
    assert test.replicas[0].calls <= 5 + 7
    await test.pool.aclose()


async def test_a_replica_that_answers_500_and_fails_its_probes_is_taken_out_though_it_is_the_only_one() -> None:
    test = pooled(FakeReplica(outcomes=[BROKEN] * 99, living=False), retry=ONCE)
    for _ in range(5):
        await test.failures(1)
        await settle()
    assert test.states == ["closed", "open"]
    assert not await test.pool.ready()
    test.replicas[0].living = True
    test.replicas[0].outcomes.clear()
    await test.clock.advance(2)
    assert await test.ask() == "a"
    assert test.states == ["closed", "open", "half_open", "closed"]


async def test_a_trial_that_no_replica_can_answer_shows_nothing() -> None:
    test = await recovering()
    await test.failures(3, POISON)
    assert test.states == ["closed", "open", "half_open"]
    assert await test.ask() == "a"
    assert test.states[-1] == "closed"


# Trials


async def recovering() -> Pooled:
    """One replica that was dead and has been found alive."""
    test = pooled(FakeReplica(outcomes=[LOST] * 5), retry=ONCE)
    await test.failures(5)
    await test.clock.advance(1)
    assert test.states[-1] == "half_open"
    return test


async def test_trials_that_do_not_fail_soon_let_twice_as_many_begin_every_two_seconds() -> None:
    test = await recovering()
    [replica] = test.replicas
    replica.hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(20)]
    await settle()
    running = [replica.running]
    for _ in range(5):
        await test.clock.advance(2)
        running.append(replica.running)
    assert running == [1, 2, 4, 8, 16, 20]
    replica.gate.set()
    assert await asyncio.gather(*calls) == ["a"] * 20
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_trial_from_before_the_breaker_reopened_has_no_effect() -> None:
    test = await recovering()
    [replica] = test.replicas
    replica.outcomes = [LOST] * 2
    replica.hold()
    stuck = asyncio.create_task(test.ask())
    await settle()
    held, replica.gate = replica.gate, asyncio.Event()
    replica.gate.set()
    await test.clock.advance(2)
    await test.failures(1)
    await test.clock.advance(2)
    assert test.states == ["closed", "open", "half_open", "open", "half_open"]
    replica.hold()
    calls = [asyncio.create_task(test.ask()) for _ in range(4)]
    await settle()
    assert replica.running == 2
    held.set()
    with pytest.raises(BackendUnavailable):
        await stuck
    assert test.states[-1] == "half_open"
    assert replica.running == 1
    replica.gate.set()
    assert await asyncio.gather(*calls) == ["a"] * 4


async def test_a_trial_that_fails_after_another_went_well_is_one_failure() -> None:
    test = await recovering()
    [replica] = test.replicas
    replica.outcomes = ["well", LOST]
    replica.hold()
    trials = [asyncio.create_task(test.ask()) for _ in range(2)]
    await settle()
    await test.clock.advance(2)
    assert replica.running == 2
    replica.gate.set()
    assert await trials[0] == "well"
    with pytest.raises(BackendUnavailable):
        await trials[1]
    assert test.states == ["closed", "open", "half_open", "closed"]
    await test.pool.aclose()


# Pauses


def later(seconds: float) -> BackendOverloaded:
    return BackendOverloaded("busy", status=429, retry_after=seconds)


async def test_a_pause_lasts_a_minute_at_most() -> None:
    test = pooled(FakeReplica("a"), FakeReplica("b"))
    home = await test.ask()
    first, second = sorted(test.replicas, key=lambda replica: replica.name != home)
    first.outcomes = [later(3600)]
    assert await test.clock.finish(test.ask()) == second.name
    await test.clock.advance(59)
    assert await test.ask() == second.name
    await test.clock.advance(1)
    assert await test.ask() == first.name


async def test_a_call_that_goes_well_in_spite_of_a_pause_ends_it() -> None:
    test = pooled(FakeReplica(outcomes=[later(3600), "well", BackendOverloaded("busy", status=429)]))
    await test.failures(1)
    assert await test.ask() == "well"
    assert await test.clock.finish(test.ask()) == "a"
    assert max(test.clock.slept) < 1


async def test_a_call_that_began_before_the_pause_does_not_end_it() -> None:
    test = pooled(FakeReplica("a"), FakeReplica("b"))
    home = await test.ask()
    first, second = sorted(test.replicas, key=lambda replica: replica.name != home)
    first.hold()
    slow = asyncio.create_task(test.ask())
    await settle()
    held, first.gate = first.gate, asyncio.Event()
    first.gate.set()
    first.outcomes = [later(7)]
    assert await test.clock.finish(test.ask()) == second.name
    held.set()
    assert await slow == first.name
    assert await test.ask() == second.name


async def test_a_lost_connection_is_tried_again_though_all_have_asked_for_a_pause() -> None:
    test = pooled(FakeReplica(outcomes=[later(3600), LOST]))
    await test.failures(1)
    assert await test.clock.finish(test.ask()) == "a"
    assert max(test.clock.slept) < 1
