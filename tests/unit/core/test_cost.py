"""What calls cost, and that no search costs more than its bound."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.budget import Budget, CostExhausted
from spar_core.cost import CostBound, Price, most_prompt_tokens
from spar_core.types import UNCOUNTED, Message, ModelRole, Sampling, Usage

QUESTION = [Message("user", "Name a river.")]
PRICE = Price(prompt=1.0, completion=2.0, cached=0.5)
PRICES: dict[ModelRole, Price] = {"actor": PRICE, "refiner": PRICE, "judge": PRICE}
PROMPT = PRICE.at_most(most_prompt_tokens(QUESTION, Sampling()), 0)


def test_a_usage_costs_its_tokens_by_kind() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=300, cached_tokens=400)
    assert PRICE.of(usage) == pytest.approx((600 * 1.0 + 400 * 0.5 + 300 * 2.0) / 1e6)
    assert Price(1.0, 2.0).of(usage) == pytest.approx((1000 * 1.0 + 300 * 2.0) / 1e6)


def test_the_cost_of_uncounted_tokens_is_unknown() -> None:
    assert PRICE.of(UNCOUNTED) is None


async def test_a_call_may_generate_what_is_left_after_its_prompt() -> None:
    backend = ScriptedBackend(always("word " * 1000))
    budget = Budget(cost=CostBound(PROMPT + 20 * 2e-6, PRICES))
    completion = await budget.complete("actor", backend, QUESTION, Sampling())
    assert completion.usage.completion_tokens == 20


async def test_what_a_call_did_not_use_is_returned() -> None:
    backend = ScriptedBackend(always("two words"))
    budget = Budget(cost=CostBound(PROMPT + 20 * 2e-6, PRICES))
    for _ in range(3):
        await budget.complete("actor", backend, QUESTION, Sampling())
    assert budget.usage["actor"].completion_tokens == 6


async def test_a_call_that_could_cost_more_than_is_left_is_not_made() -> None:
    backend = ScriptedBackend(always("two words"))
    budget = Budget(cost=CostBound(PROMPT + 7 * 2e-6, PRICES))
    with pytest.raises(CostExhausted):
        await budget.complete("actor", backend, QUESTION, Sampling())
    with pytest.raises(CostExhausted):
        await budget.complete_many("judge", backend, QUESTION, [Sampling()] * 3)
    assert (backend.calls, budget.cost_exhausted) == ([], True)


async def test_of_several_calls_as_many_are_made_as_are_paid_for() -> None:
    backend = ScriptedBackend(always("word " * 1000))
    budget = Budget(cost=CostBound(2.5 * (PROMPT + 8 * 2e-6), PRICES))
    assert len(await budget.complete_many("judge", backend, QUESTION, [Sampling()] * 5)) == 2


async def test_a_cancelled_call_is_charged_all_that_it_reserved() -> None:
    slow = ScriptedBackend(always("late"), latency_s=60.0)
    budget = Budget(cost=CostBound(PROMPT + 20 * 2e-6, PRICES))
    call = asyncio.create_task(budget.complete("actor", slow, QUESTION, Sampling()))
    while not slow.running:  # noqa: ASYNC110 (a scripted call's start is no event)
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    with pytest.raises(CostExhausted):
        await budget.complete("actor", slow, QUESTION, Sampling())


@given(
    limit=st.floats(1e-6, 1e-2),
    price=st.builds(Price, st.floats(0, 5), st.floats(0, 5), st.none() | st.floats(0, 5)),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    together=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_all_calls_together_never_cost_more_than_the_bound(
    limit: float, price: Price, lengths: list[int], together: int
) -> None:
    prices: dict[ModelRole, Price] = {"actor": price, "judge": price}
    budget = Budget(cost=CostBound(limit, prices))

    async def spend() -> None:
        for length in lengths:
            backend = ScriptedBackend(always("word " * length))
            try:
                await budget.complete("actor", backend, QUESTION, Sampling(max_tokens=50))
                await budget.complete_many("judge", backend, QUESTION, [Sampling(max_tokens=50)] * together)
            except CostExhausted:
                continue

    asyncio.run(spend())
    spent = sum(price.of(usage) or 0.0 for usage in budget.usage.values())
    assert spent <= limit * (1 + 1e-6)


def test_a_price_of_next_to_nothing_pays_for_any_number_of_tokens() -> None:
    prices: dict[ModelRole, Price] = {"actor": Price(prompt=0.0, completion=5e-324)}
    bound = CostBound(1e-3, prices)
    assert bound.completion_tokens("actor", 1e-3) is None
    assert bound.completion_tokens("actor", -1.0) == 0
