"""The pool over real HTTP, against an upstream that fails in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from spar_core.backends.openai import OpenAIBackend, Timeouts
from spar_core.backends.pool import BreakerPolicy, PoolBackend, RetryPolicy
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendTimeout,
    BackendUnavailable,
)
from spar_core.types import Message, Sampling, Usage
from tests.support.faulty_upstream import FAULTS, PROMPT_TOKENS, FaultyUpstream, once, timeouts_for

HELLO = [Message("user", "Hi")]
WHOLE = ("one two three four", Usage(PROMPT_TOKENS, 4))
PATIENT = Timeouts(**timeouts_for("none"))
# Enough for the retry of a stalled call on a busy machine.
STALL_S = 2.0
ERRORS: dict[str, type[BackendError]] = {
    "429": BackendOverloaded,
    "429 later": BackendOverloaded,
    "503": BackendOverloaded,
    "503 later": BackendOverloaded,
    "500": BackendUnavailable,
    "stall": BackendTimeout,
    "stall silent": BackendTimeout,
    "stall after": BackendTimeout,
    "reset": BackendUnavailable,
    "reset after": BackendUnavailable,
    "truncated": BackendUnavailable,
    "invalid json": BackendProtocol,
    "error 200": BackendProtocol,
}
# A fault after the first token of a stream cannot be retried.
AFTER = ("stall after", "reset after", "truncated")
GARBLED = ("invalid json", "error 200")


@pytest.fixture
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream().serving() as upstream:
        yield upstream


@asynccontextmanager
async def pool_over(
    *upstreams: FaultyUpstream, retries: int = 1, timeouts: Timeouts = PATIENT
) -> AsyncIterator[PoolBackend]:
    """A pool; asserts that it leaves no task, no connection and no running upstream call behind."""
    before = asyncio.all_tasks()
    pool = PoolBackend(
        [OpenAIBackend(base_url=upstream.url, model="m", timeouts=timeouts) for upstream in upstreams],
        retry=RetryPolicy(retries=retries, base_s=0.01),
        breaker=BreakerPolicy(cooldown_s=0.05),
    )
    try:
        yield pool
    finally:
        await pool.aclose()
    await until(lambda: not any(upstream.running or upstream.connections for upstream in upstreams))
    await until(lambda: asyncio.all_tasks() <= before)


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that another thread establishes."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ask(pool: PoolBackend, stream: bool) -> tuple[str, Usage]:
    if not stream:
        completion = await pool.complete(HELLO, Sampling())
        return completion.text, completion.usage
    text, usage = "", Usage()
    async for delta in pool.stream(HELLO, Sampling()):
        text, usage = text + delta.text, delta.usage or usage
    return text, usage


def test_every_fault_is_expected_to_fail_somehow() -> None:
    assert set(FAULTS) == {*ERRORS, "slow drip"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ERRORS)
async def test_a_permanent_fault_is_raised_after_its_retries(
    upstream: FaultyUpstream, fault: str, stream: bool
) -> None:
    upstream.fault = lambda call: fault
    async with pool_over(upstream, timeouts=Timeouts(**timeouts_for(fault))) as pool:
        with pytest.raises(ERRORS[fault]) as caught:
            await ask(pool, stream)
    if isinstance(caught.value, BackendOverloaded):
        assert caught.value.retry_after == (30 if "later" in fault else None)
    tried_again = fault not in GARBLED and "later" not in fault and not (stream and fault in AFTER)
    assert len(upstream.calls) == 1 + tried_again


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        (fault, stream)
        for fault in ERRORS
        for stream in (False, True)
        if fault not in GARBLED and not (stream and fault in AFTER)
    ],
)
async def test_a_temporary_fault_costs_one_retry_and_nothing_else(
    upstream: FaultyUpstream, fault: str, stream: bool
) -> None:
    upstream.fault = once(fault)
    upstream.retry_after = "0.2"
    async with pool_over(upstream, timeouts=Timeouts(**timeouts_for(fault, STALL_S))) as pool:
        began = asyncio.get_running_loop().time()
        assert await ask(pool, stream) == WHOLE
        if "later" in fault:
            assert asyncio.get_running_loop().time() - began >= 0.2
    assert [call.fault for call in upstream.calls] == [fault, "none"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_stream_is_not_a_fault(upstream: FaultyUpstream, stream: bool) -> None:
    upstream.fault = lambda call: "slow drip"
    async with pool_over(upstream) as pool:
        assert await ask(pool, stream) == WHOLE
    assert len(upstream.calls) == 1


async def test_a_replica_that_is_killed_under_load_fails_no_call_and_is_used_again_when_it_is_back() -> None:
    with FaultyUpstream(delay_s=0.05, dies_at=40).serving() as first, FaultyUpstream(delay_s=0.05).serving() as second:
        async with pool_over(first, second, retries=2) as pool:

            async def keep_asking(number: int) -> None:
                for turn in range(12):
                    messages = [Message("user", f"{number}, {turn}")]
                    assert (await pool.complete(messages, Sampling())).text == WHOLE[0]

            async with asyncio.TaskGroup() as group:
                for number in range(24):
                    group.create_task(keep_asking(number))
            served = len(first.calls)
            assert 40 <= served < 80
            assert sum(call.aborted for call in first.calls) > 1
            first.restart()
            async with asyncio.timeout(60):
                while len(first.calls) == served:
                    await keep_asking(99)


@pytest.mark.parametrize("fault", ["stall", "stall silent", "stall after"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_is_cancelled_is_aborted_upstream(upstream: FaultyUpstream, fault: str, stream: bool) -> None:
    upstream.fault = lambda call: fault
    async with pool_over(upstream) as pool:
        task = asyncio.create_task(ask(pool, stream))
        await until(lambda: upstream.running > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert upstream.calls[0].aborted
