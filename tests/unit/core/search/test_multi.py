"""Several answers to one request: independent drafts, one budget, the best of all answers."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendError, BackendUnavailable
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Answers, Models, SearchConfig, Searcher, choice_sampling
from spar_core.search.events import Drafted, Event, OfChoice
from spar_core.types import Sampling
from tests.support.searching import NO, QUESTION, YES, counting_refiner, judging
from tests.unit.core.search.test_search_properties import World, configs


def numbered_actor() -> ScriptedBackend:
    numbers = itertools.count(1)
    return ScriptedBackend(lambda m, s: f"draft {next(numbers)}")


async def several(
    n: int,
    *,
    actor: ScriptedBackend | None = None,
    judge: ScriptedBackend | None = None,
    refiner: ScriptedBackend | None = None,
    events: list[Event] | None = None,
    **config: Any,
) -> Answers:
    templates = load_templates("compact")
    settings = SearchConfig(**config)
    sampling = Sampling(max_tokens=64)
    models = Models(
        actor=actor or numbered_actor(),
        judge=Judge(
            backend=judge or ScriptedBackend(always(NO)),
            templates=templates,
            votes=settings.votes,
            threshold=settings.threshold,
            early_stop=settings.early_vote_stop,
            sampling=sampling,
        ),
        refiner=Refiner(backend=refiner or counting_refiner(), templates=templates, sampling=sampling),
    )
    emit = (events if events is not None else []).append
    return await Searcher(models, settings, sampling).run_n(QUESTION, n, emit=emit)


def texts(answers: Answers) -> list[str]:
    return [completion.text for completion in answers.completions]


async def test_without_a_budget_the_answers_are_n_independent_drafts() -> None:
    actor = numbered_actor()
    answers = await several(3, actor=actor, budget=0)
    assert sorted(texts(answers)) == ["draft 1", "draft 2", "draft 3"]
    assert len({sampling.seed for _, sampling in actor.calls}) == 3
    assert answers.calls == {"actor": 3}


async def test_the_best_answers_come_first_whatever_their_draft() -> None:
    judge = judging(lambda response: YES if response in ("draft 2", "answer 1") else NO)
    answers = await several(2, judge=judge, budget=4)
    assert set(texts(answers)) == {"draft 2", "answer 1"}
    assert texts(answers)[0] == "draft 2"


async def test_a_rejected_refinement_never_replaces_a_draft() -> None:
    answers = await several(3, budget=6)
    assert sorted(texts(answers)) == ["draft 1", "draft 2", "draft 3"]


async def test_all_searches_share_one_budget() -> None:
    answers = await several(4, budget=5)
    assert answers.expanded == 5


async def test_a_failed_draft_costs_only_itself() -> None:
    script = iter(["fine", BackendUnavailable("down"), "good"])
    answers = await several(3, actor=ScriptedBackend(lambda m, s: next(script)), budget=0)
    assert sorted(texts(answers)) == ["fine", "good"]
    assert answers.degraded
    assert answers.calls == {"actor": 3}


async def test_without_any_draft_it_fails() -> None:
    with pytest.raises(BackendUnavailable):
        await several(2, actor=ScriptedBackend(always(BackendUnavailable("down"))), budget=2)


async def test_a_deadline_that_ends_one_search_is_not_hidden_by_an_accepted_answer_of_another() -> None:
    judge = judging(lambda response: YES if response == "draft 1" else NO)
    answers = await several(2, judge=judge, refiner=counting_refiner(latency_s=60), budget=4, deadline_s=0.1)
    assert texts(answers)[0] == "draft 1"
    assert sorted(answers.stop_reasons) == ["deadline", "draft_accepted"]
    assert answers.stop_reason == "deadline"
    assert answers.cancelled["refiner"].calls == 3


async def test_a_deadline_that_prevents_a_draft_is_the_stop_reason() -> None:
    class Uneven(ScriptedBackend):
        async def complete(self, messages, sampling):  # type: ignore[no-untyped-def]
            self.latency_s = 60.0 if self.calls else 0.0
            return await super().complete(messages, sampling)

    answers = await several(2, actor=Uneven(always("draft")), budget=0, deadline_s=0.1)
    assert (texts(answers), answers.failed) == (["draft"], 1)
    assert (answers.stop_reason, answers.stop_reasons) == ("deadline", ("pass_through", "deadline"))


async def test_an_upstream_that_fails_a_draft_is_the_stop_reason() -> None:
    script = iter(["fine", BackendUnavailable("down")])
    answers = await several(2, actor=ScriptedBackend(lambda m, s: next(script)), budget=0)
    assert (answers.stop_reason, answers.stop_reasons) == ("upstream", ("pass_through", "upstream"))


async def test_if_no_search_was_cut_short_the_stop_reason_is_the_first_answers() -> None:
    judge = judging(lambda response: YES if response == "answer 1" else NO)
    answers = await several(2, judge=judge, budget=4, stop="level")
    assert "budget" in answers.stop_reasons
    assert answers.stop_reason == "refined_accepted"


async def test_events_name_the_answer_that_they_belong_to() -> None:
    events: list[Event] = []
    await several(2, budget=0, events=events)
    drafted = [event.choice for event in events if isinstance(event, OfChoice) and isinstance(event.event, Drafted)]
    assert sorted(drafted) == [0, 1]


async def test_tokens_are_shared_between_all_drafts() -> None:
    actor = numbered_actor()
    answers = await several(4, actor=actor, budget=0, max_search_tokens=40)
    assert [sampling.max_tokens for _, sampling in actor.calls] == [10, 10, 10, 10]
    assert len(answers.nodes) == 4


def test_the_first_answers_seed_is_the_requests_own() -> None:
    sampling = Sampling(seed=7)
    assert choice_sampling(sampling, 0) == sampling
    assert choice_sampling(sampling, 1).seed not in (7, None)
    assert choice_sampling(Sampling(), 1).seed is None


@settings(max_examples=80, deadline=None)
@given(n=st.integers(1, 4), config=configs, seed=st.integers(0, 10**6), faults=st.sampled_from([0.0, 0.2, 0.7]))
def test_bounds_hold_over_all_searches_together(n: int, config: dict[str, Any], seed: int, faults: float) -> None:
    async def run() -> None:
        world = World(seed, faults)
        config["max_search_tokens"] = config["max_search_tokens"] and max(config["max_search_tokens"], 8 * n)
        try:
            answers = await several(n, actor=world.actor, judge=world.judge, refiner=world.refiner, **config)
        except BackendError:
            assert world.actor.finished == 0
        else:
            assert answers.expanded <= config["budget"]
            spent = sum(usage.completion_tokens for usage in answers.usage.values())
            assert config["max_search_tokens"] is None or spent <= config["max_search_tokens"]
            for role, backend in zip(("actor", "judge", "refiner"), world.backends, strict=True):
                assert answers.calls.get(role, 0) == len(backend.calls)
            assert 1 <= len(answers.nodes) <= n
            assert len(answers.nodes) + answers.failed >= n
        assert [backend.running for backend in world.backends] == [0, 0, 0]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
