"""The charges for cancelled and for uncounted calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.budget import Budget, TokensExhausted
from spar_core.types import UNCOUNTED, Cancelled, Completion, Message, Sampling, Usage
from tests.support.searching import NO, QUESTION, YES, judging, search


class Uncounting(ScriptedBackend):
    """Answers without a usage, like some servers."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        completion = await super().complete(messages, sampling)
        return Completion(completion.text, completion.finish_reason, UNCOUNTED)


class Uneven(ScriptedBackend):
    """Answers its first `answered` calls and never the others; `stalled` is set once `stalls` of them wait."""

    def __init__(self, answered: int, stalls: int) -> None:
        super().__init__(always("one two three"))
        self.stalled = asyncio.Event()
        self._answered, self._stalls = answered, stalls

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if self._answered:
            self._answered -= 1
        else:
            self._stalls -= 1
            if not self._stalls:
                self.stalled.set()
            self.latency_s = 60.0
        return await super().complete(messages, sampling)


async def cut_short(budget: Budget, calls: int = 1, max_tokens: int | None = 20, answered: int = 0) -> None:
    """Start several judgements and cancel those without an answer."""
    uneven = Uneven(answered, calls - answered)
    samplings = [Sampling(max_tokens=max_tokens, seed=number) for number in range(calls)]
    task = asyncio.create_task(budget.complete_many("judge", uneven, QUESTION, samplings))
    await asyncio.wait_for(uneven.stalled.wait(), 60)
    async with asyncio.timeout(10):
        while uneven.finished < answered:  # noqa: ASYNC110 (a scripted call's end is no event)
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_counts_with_the_most_tokens_it_may_have_generated() -> None:
    budget = Budget()
    await cut_short(budget, calls=3)
    assert budget.cancelled == {"judge": Cancelled(3, 60)}
    assert budget.calls == {"judge": 3}
    assert budget.usage == {}


async def test_of_several_calls_the_finished_ones_are_in_the_usage_and_the_others_are_cancelled() -> None:
    budget = Budget()
    await cut_short(budget, calls=3, answered=1)
    assert budget.cancelled == {"judge": Cancelled(2, 40)}
    assert budget.usage["judge"].completion_tokens == 3


async def test_a_cancelled_call_without_a_limit_has_no_bound() -> None:
    budget = Budget()
    await cut_short(budget, max_tokens=None)
    await cut_short(budget)
    assert budget.cancelled == {"judge": Cancelled(2, None)}


async def test_the_token_bound_is_charged_the_most_that_cancelled_calls_may_have_generated() -> None:
    budget = Budget(tokens=50)
    await cut_short(budget, calls=2)
    with pytest.raises(TokensExhausted):
        # 50 less 2 calls of 20 each are 10, in two shares.
        await budget.complete("judge", ScriptedBackend(always(NO)), QUESTION, Sampling(max_tokens=20), shares=2)


@pytest.mark.parametrize("tokens", [100, 400])
async def test_the_token_bound_is_charged_the_maximum_for_uncounted_calls(tokens: int) -> None:
    judge = Uncounting(always(NO))
    result = await search(max_search_tokens=tokens, judge=judge, early_vote_stop=False)
    assert result.stop_reason == "tokens"
    most = sum(sampling.max_tokens or 0 for _, sampling in judge.calls)
    assert 0 < most <= tokens
    assert not result.usage["judge"].completion_counted


def test_a_sum_is_known_only_if_all_its_parts_are() -> None:
    assert (Usage(1, 2) + Usage(3, 4)).completion_counted
    assert not (Usage(1, 2) + UNCOUNTED).completion_counted
    assert not (UNCOUNTED + Usage(1, 2)).prompt_counted
    assert (Usage(1, 2) + UNCOUNTED).completion_tokens == 2


async def test_siblings_cancelled_by_an_acceptance_are_recorded_with_their_bound() -> None:
    judge = judging(lambda response: YES if response == "winner" else NO, 0.01)
    first = iter([True])
    refiner = ScriptedBackend(always("[[start]]\nwinner\n[[end]]"))
    slow = ScriptedBackend(always("[[start]]\nlate as it is\n[[end]]"), latency_s=60)

    class Uneven:
        model = "uneven"

        async def complete(self, messages, sampling):  # type: ignore[no-untyped-def]
            return await (refiner if next(first, False) else slow).complete(messages, sampling)

    result = await search(refiner=Uneven(), judge=judge)  # type: ignore[arg-type]
    assert (result.stop_reason, slow.cancelled) == ("refined_accepted", 2)
    assert result.cancelled == {"refiner": Cancelled(2, sum(sampling.max_tokens or 0 for _, sampling in slow.calls))}
    assert result.usage["refiner"].completion_tokens == len(["[[start]]", "winner", "[[end]]"])
