"""A plan runs within what the gate grants it, and costs the model calls that it can make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.cutoff import Cutoff
from spar_core.errors import DeadlineReached
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair
from spar_server.schemas import ChatRequest
from spar_server.serving.plan import Allowance, Plan, build_plan
from spar_server.settings import RefineDefaults
from tests.support.pairs import scripted_pair


class ConstrainingBackend(ScriptedBackend):
    """An engine that can constrain its answers."""

    constrains = True


def plan(pair: ServedPair | None = None, *, defaults: RefineDefaults | None = None, **fields: Any) -> Plan:
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hi there"}], "seed": 1} | fields
    return build_plan(
        ChatRequest.model_validate(body), None, pair=pair or scripted_pair(),
        defaults=defaults or RefineDefaults(votes=5),
    )  # fmt: skip


async def test_the_full_budget_is_spent_as_granted() -> None:
    outcome = await plan(refine_budget=4).run(Allowance(4, 30.0))
    assert (outcome.budget, outcome.degraded) == (4, False)
    assert outcome.answers.completions[0].text == "better answer"


@pytest.mark.parametrize(("granted", "kind"), [(2, "search"), (0, "pass_through")])
async def test_an_answer_on_a_lowered_budget_is_degraded(granted: int, kind: str) -> None:
    allowance = Allowance(granted, 30.0)
    outcome = await plan(refine_budget=4).run(allowance)
    assert (allowance.kind, outcome.budget, outcome.degraded) == (kind, granted, True)
    assert outcome.answers.expanded <= granted


async def test_a_search_ends_at_the_granted_deadline() -> None:
    slow = ScriptedBackend(always("never in time"), latency_s=60)
    search = plan(replace(scripted_pair(), refiner=slow), refine_budget=4)
    outcome = await search.run(Allowance(4, 0.05))
    assert outcome.answers.stop_reason == "deadline"


async def test_a_draft_ends_at_the_cutoff() -> None:
    cutoff = Cutoff()
    cutoff.now()
    with pytest.raises(DeadlineReached, match="before the actor's draft"):
        await plan(refine_budget=0).run(Allowance(0, 30.0, cutoff))


@pytest.mark.parametrize(
    ("budget", "n", "cost", "judges"),
    [(0, 1, 1, False), (0, 3, 3, False), (1, 1, 1 + 5 + 6, True), (4, 2, 2 + 2 * 5 + 4 * 6, True)],
)
def test_the_cost_counts_drafts_and_nodes_with_their_votes(budget: int, n: int, cost: int, judges: bool) -> None:
    request = plan(refine_budget=64, n=n)
    assert (request.cost_with(budget), request.judges_with(budget)) == (cost, judges)


def test_a_reply_passes_through_only_without_a_budget() -> None:
    request = plan(refine_budget=4)
    assert request.passes_through(Allowance(0, 30.0))
    assert not request.passes_through(Allowance(1, 30.0))


@pytest.mark.parametrize(
    ("setting", "constrains", "cost"), [("auto", True, 1 + 10 + 4 * 11), ("auto", False, 30), ("off", True, 30)]
)
async def test_verdicts_are_requested_if_the_engine_can_constrain_them(
    setting: Any, constrains: bool, cost: int
) -> None:
    """It takes a call more per vote, which the request costs."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        return '"Yes"' if "response_format" in sampling.extra else "I cannot say."

    refiner = (ConstrainingBackend if constrains else ScriptedBackend)(script)
    defaults = RefineDefaults(votes=5, constrained_verdict=setting)
    request = plan(replace(scripted_pair(), refiner=refiner), defaults=defaults, refine_budget=4)
    assert request.cost == cost
    answers = (await request.run(Allowance(4, 30.0))).answers
    assert answers.nodes[0].accepted is (cost > 30)
    assert answers.calls["judge"] == len(refiner.calls)
