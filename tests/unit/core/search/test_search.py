"""The strategies: their nodes, their stop reasons, and their answers."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable, Sequence

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.checks import build_check
from spar_core.errors import BackendTimeout, BackendUnavailable
from spar_core.search import STRATEGIES
from spar_core.search.events import Called, Drafted, Event, Expanding, Finished, Judged, Refined, Voted
from spar_core.trace import read_tree, write_trace
from spar_core.types import Completion, Message, Sampling, Usage
from tests.support.searching import NO, YES, counting_refiner, judging, search
from tests.support.virtual_time import run_in_virtual_time


@pytest.mark.parametrize(("algorithm", "nodes", "depth"), [("bfs", 15, 3), ("dfs", 21, 3)])
async def test_the_papers_node_and_call_counts_when_every_vote_is_no(algorithm: str, nodes: int, depth: int) -> None:
    refiner = counting_refiner()
    result = await search(algorithm=algorithm, budget=100, max_depth=3, refiner=refiner, early_vote_stop=False)
    assert result.nodes == nodes
    assert len(refiner.calls) == result.calls["refiner"] == nodes
    assert result.judgements == nodes + 1
    assert result.calls["judge"] == 5 * (nodes + 1)
    assert result.tree.depth == depth
    assert result.stop_reason == "depth"
    assert result.answer.text == "draft"


def test_a_full_bfs_takes_the_time_of_six_calls_after_the_draft_is_judged() -> None:
    judge, refiner = judging(lambda response: NO, latency_s=1.0), counting_refiner(latency_s=1.0)
    result, seconds = run_in_virtual_time(
        search(draft=Completion("draft", "stop", Usage()), judge=judge, refiner=refiner)
    )
    assert result.nodes == 15
    # One more than the paper's six calls: the judgement of the draft.
    assert seconds == pytest.approx(7.0)


@pytest.mark.parametrize("algorithm", sorted(STRATEGIES))
async def test_an_accepted_draft_is_returned_without_a_search(algorithm: str) -> None:
    result = await search(algorithm=algorithm, judge=ScriptedBackend(always(YES)))
    assert (result.stop_reason, result.nodes, result.answer.text) == ("draft_accepted", 0, "draft")
    assert result.accepted
    assert not result.improved


@pytest.mark.parametrize("algorithm", sorted(STRATEGIES))
async def test_budget_zero_is_the_draft_without_a_judge(algorithm: str) -> None:
    judge = ScriptedBackend(always(NO))
    result = await search(algorithm=algorithm, budget=0, judge=judge)
    assert (result.stop_reason, result.answer.text, judge.calls) == ("pass_through", "draft", [])
    assert result.value is None


@pytest.mark.parametrize("algorithm", ["bfs", "dfs", "best_first", "iterative"])
@pytest.mark.parametrize("budget", [1, 2, 4, 7])
async def test_the_budget_is_a_hard_bound_on_nodes(algorithm: str, budget: int) -> None:
    refiner = counting_refiner()
    result = await search(algorithm=algorithm, budget=budget, refiner=refiner)
    assert result.nodes == len(refiner.calls) == budget
    assert result.stop_reason == "budget"


@pytest.mark.parametrize("algorithm", ["bfs", "dfs", "best_first", "iterative"])
async def test_the_first_accepted_refinement_is_the_answer(algorithm: str) -> None:
    judge = judging(lambda response: YES if response == "answer 4" else NO)
    result = await search(algorithm=algorithm, judge=judge)
    assert (result.stop_reason, result.answer.text) == ("refined_accepted", "answer 4")
    assert result.improved
    assert result.depth == len(result.best.path)


async def test_best_of_n_samples_fresh_drafts_and_keeps_the_best() -> None:
    drafts = iter(["draft 0", "draft 1", "draft 2", "draft 3", "draft 4", "draft 5", "draft 6"])
    actor = ScriptedBackend(lambda m, s: next(drafts))
    judge = judging(lambda response: YES if response == "draft 5" else NO)
    result = await search(algorithm="best_of_n", actor=actor, judge=judge, budget=8)
    assert result.answer.text == "draft 5"
    assert "refiner" not in result.calls
    assert len({sampling.seed for _, sampling in actor.calls}) == len(actor.calls)


@pytest.mark.parametrize(("asked", "fresh"), [(0.0, 0.7), (1.2, 1.2), (None, None)])
async def test_fresh_drafts_differ_from_the_first_one_even_at_temperature_0(
    asked: float | None, fresh: float | None
) -> None:
    actor = ScriptedBackend(always("draft"))
    await search(algorithm="best_of_n", actor=actor, budget=3, temperature=asked)
    assert [sampling.temperature for _, sampling in actor.calls] == [asked, fresh, fresh, fresh]


async def test_an_answer_that_failed_every_vote_never_replaces_the_draft() -> None:
    result = await search(budget=15)
    assert result.answer is result.draft
    assert result.value == result.draft_value == 0.0


async def test_a_node_with_more_votes_than_the_draft_is_better_though_not_accepted() -> None:
    votes: dict[str, int] = {}

    def verdict(response: str) -> str:
        votes[response] = votes.get(response, 0) + 1
        return YES if response == "answer 2" and votes[response] <= 2 else NO

    result = await search(judge=judging(verdict), budget=3, early_vote_stop=False)
    assert result.answer.text == "answer 2"
    assert result.value == pytest.approx(0.4)
    assert not result.accepted
    assert result.stop_reason == "budget"


async def test_sampled_selection_survives_values_that_are_all_zero() -> None:
    result = await search(select="sample", budget=15)
    assert result.nodes == 15


async def test_the_same_seed_gives_the_same_seeds_to_every_call_and_another_seed_others() -> None:
    async def seeds(seed: int) -> list[int | None]:
        refiner, judge = counting_refiner(), ScriptedBackend(always(NO))
        await search(seed=seed, refiner=refiner, judge=judge, select="sample")
        return sorted(sampling.seed or 0 for _, sampling in (*refiner.calls, *judge.calls))

    assert await seeds(1) == await seeds(1)
    assert not set(await seeds(1)) & set(await seeds(2))


async def test_a_duplicate_counts_but_is_not_judged_again() -> None:
    judge = ScriptedBackend(always(NO))
    result = await search(
        budget=3, judge=judge, refiner=ScriptedBackend(always("[[start]]\nsame\n[[end]]")), early_vote_stop=False
    )
    assert result.nodes == 3
    assert result.judgements == 2
    assert len(judge.calls) == 10
    assert sorted(node.outcome for node in result.tree) == ["duplicate", "duplicate", "judged", "judged"]


async def test_the_tree_is_the_same_whichever_of_two_equal_siblings_comes_first() -> None:
    async def tree(arrivals: int) -> list[tuple[object, ...]]:
        chance = random.Random(arrivals)

        def erratic(reply: Callable[[int], str]) -> ScriptedBackend:
            def script(messages: Sequence[Message], sampling: Sampling) -> str:
                backend.latency_s = chance.random() / 100
                return reply(sampling.seed or 0)

            backend = ScriptedBackend(script)
            return backend

        result = await search(
            judge=erratic(lambda seed: NO if seed % 3 else YES),
            refiner=erratic(lambda seed: f"[[start]]\nanswer {seed % 3}\n[[end]]"),
            budget=15,
            max_depth=3,
            stop="level",
            early_vote_stop=False,
            seed=7,
        )
        return [(node.path, node.outcome, node.value, node.completion and node.completion.text) for node in result.tree]

    first, *others = [await tree(arrivals) for arrivals in range(12)]
    assert "duplicate" in [outcome for _, outcome, *_ in first]
    assert all(other == first for other in others)


async def test_a_refinement_equal_to_the_draft_is_a_duplicate() -> None:
    result = await search(budget=3, refiner=ScriptedBackend(always("[[start]]\ndraft\n[[end]]")))
    assert [node.outcome for node in result.tree] == ["judged", "duplicate", "duplicate", "duplicate"]
    assert result.stop_reason == "budget"


async def test_failed_refinements_count_and_the_answer_is_never_truncated_text() -> None:
    result = await search(budget=20, max_depth=3, refiner=ScriptedBackend(always("[[start]]\nhalf an ans")))
    assert result.stop_reason == "no_candidates"
    assert result.nodes == 9
    assert {node.problem for node in list(result.tree)[1:]} == {"no_end"}
    assert result.answer.text == "draft"


async def test_a_level_without_new_responses_is_expanded_again() -> None:
    replies = iter(["draft"] * 4 + ["better"] * 2)
    refiner = ScriptedBackend(lambda m, s: f"[[start]]\n{next(replies)}\n[[end]]")
    result = await search(
        budget=8, refiner=refiner, judge=judging(lambda response: YES if response == "better" else NO)
    )
    assert result.answer.text == "better"
    assert result.stop_reason == "refined_accepted"
    assert [node.path for node in result.tree][1:4] == [(0,), (1,), (2,)]


async def test_an_abstaining_judge_neither_passes_nor_fails_the_draft() -> None:
    result = await search(judge=ScriptedBackend(always("who knows")))
    assert result.stop_reason == "abstained"
    assert result.draft_value is None
    assert not result.accepted
    assert result.nodes == 0


async def test_stop_level_awaits_the_whole_level_and_takes_its_best() -> None:
    judge = judging(lambda response: YES if response == "answer 1" else NO, 0.01)
    result = await search(judge=judge, stop="level", early_vote_stop=False)
    assert result.answer.text == "answer 1"
    assert [node.outcome for node in result.tree] == ["judged"] * 4


async def test_losers_upstream_calls_are_aborted() -> None:
    def script(messages: object, sampling: object) -> str:
        return "[[start]]\nwinner\n[[end]]"

    refiner = ScriptedBackend(script)
    slow = ScriptedBackend(script, latency_s=5)

    class Uneven:
        model = "uneven"
        first = True

        async def complete(self, messages, sampling):  # type: ignore[no-untyped-def]
            mine, self.first = (refiner, False) if self.first else (slow, False)
            return await mine.complete(messages, sampling)

    judge = judging(lambda response: YES if response == "winner" else NO)
    result = await search(refiner=Uneven(), judge=judge)  # type: ignore[arg-type]
    assert result.answer.text == "winner"
    assert (slow.cancelled, slow.running) == (2, 0)
    assert [node.outcome for node in result.tree] == ["judged", "judged", "cancelled", "cancelled"]


async def test_the_deadline_returns_the_best_so_far_and_leaves_no_call_running() -> None:
    refiner = counting_refiner(latency_s=5)
    result = await search(refiner=refiner, deadline_s=0.1)
    assert result.stop_reason == "deadline"
    assert result.answer.text == "draft"
    assert (refiner.running, refiner.cancelled) == (0, 3)
    assert result.nodes == 3


async def test_a_deadline_before_the_draft_is_an_error() -> None:
    with pytest.raises(BackendTimeout):
        await search(actor=ScriptedBackend(always("late"), latency_s=5), deadline_s=0.05)


@pytest.mark.parametrize("tokens", [10, 30, 60, 100, 500])
async def test_search_tokens_are_a_hard_bound_over_all_calls(tokens: int) -> None:
    result = await search(max_search_tokens=tokens, actor=ScriptedBackend(always("one two three")))
    assert sum(usage.completion_tokens for usage in result.usage.values()) <= tokens
    assert result.stop_reason in ("tokens", "depth", "budget")


async def test_a_draft_that_fails_is_an_error() -> None:
    with pytest.raises(BackendUnavailable):
        await search(actor=ScriptedBackend(always_raise("down")))


async def test_a_refiner_that_fails_costs_its_nodes_and_the_answer_is_degraded() -> None:
    result = await search(refiner=ScriptedBackend(always_raise("down")))
    assert result.answer.text == "draft"
    assert result.degraded
    assert result.stop_reason == "upstream"
    assert "BackendUnavailable: down" in {node.problem for node in result.tree}


async def test_a_judge_that_fails_leaves_the_draft_unjudged_and_degraded() -> None:
    result = await search(judge=ScriptedBackend(always_raise("down")))
    assert (result.stop_reason, result.degraded, result.nodes) == ("upstream", True, 0)


def always_raise(message: str):  # type: ignore[no-untyped-def]
    return lambda messages, sampling: BackendUnavailable(message)


async def test_tool_calls_are_returned_unchanged_without_a_search() -> None:
    draft = Completion("", "tool_calls", Usage(), {"tool_calls": [{"id": "1"}]})
    result = await search(draft=draft)
    assert (result.stop_reason, result.answer) == ("pass_through", draft)


async def test_checks_of_the_request_are_enforced_and_named_to_the_refiner() -> None:
    refiner = counting_refiner()
    result = await search(
        judge=ScriptedBackend(always(YES)),
        refiner=refiner,
        checks=[build_check("keywords:existence", {"keywords": ["answer"]})],
    )
    assert result.stop_reason == "refined_accepted"
    assert result.answer.text.startswith("answer")
    assert "include the word answer: answer missing -> no" in refiner.calls[0][0][1].text


async def test_every_step_is_an_event_and_the_last_is_the_result() -> None:
    events: list[Event] = []
    result = await search(budget=3, events=events, early_vote_stop=False)
    calls = [event.call for event in events if isinstance(event, Called)]
    assert sum(call.count for call in calls) == sum(result.calls.values())
    kinds = [type(event) for event in events if not isinstance(event, Called)]
    assert kinds[0] is Drafted
    assert kinds[-1] is Finished
    assert (kinds.count(Expanding), kinds.count(Refined), kinds.count(Judged)) == (3, 3, 4)
    assert kinds.count(Voted) == 20
    assert isinstance(events[-1], Finished)
    assert events[-1].result is result


class _Events(list[Event]):
    """A list that can be referred to weakly."""


@pytest.mark.parametrize("algorithm", sorted(STRATEGIES))
async def test_a_finished_search_is_freed_without_the_garbage_collector(algorithm: str) -> None:
    events = _Events()
    listener = weakref.ref(events)
    gc.disable()
    try:
        await search(algorithm=algorithm, budget=6, events=events)
        del events
        assert listener() is None
    finally:
        gc.enable()


async def test_a_trace_is_plain_data_and_reads_back_as_the_same_tree() -> None:
    import json

    result = await search(budget=6)
    trace = json.loads(json.dumps(write_trace(result)))
    assert list(read_tree(trace)) == list(result.tree)
    assert "text" not in json.dumps(write_trace(result, "summary"))


async def test_cancelling_the_request_leaves_no_task_running() -> None:
    refiner = counting_refiner(latency_s=5)
    task = asyncio.create_task(search(refiner=refiner))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (refiner.running, len(asyncio.all_tasks())) == (0, 1)
