"""A budget is used up: if a tree ends without an accepted answer, another tree follows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendUnavailable
from spar_core.search import SearchResult
from spar_core.types import Completion, Usage
from tests.support.searching import NO, YES, counting_refiner, judging, search

TREES = ["bfs", "dfs", "best_first"]


def numbered_actor() -> ScriptedBackend:
    numbers = itertools.count()
    return ScriptedBackend(lambda m, s: f"draft {next(numbers)}")


def texts(result: SearchResult, depth: int) -> list[str]:
    return [node.completion.text for node in result.tree if node.depth == depth and node.completion]


async def test_a_budget_of_15_is_the_papers_tree_and_no_more() -> None:
    result = await search(budget=15, actor=numbered_actor())
    assert (result.nodes, result.tree.depth, result.stop_reason) == (15, 3, "budget")
    assert result.calls["actor"] == 1
    papers = await search(budget=15, max_depth=3)
    assert [node.path for node in result.tree] == [node.path for node in papers.tree]


@pytest.mark.parametrize("algorithm", TREES)
@pytest.mark.parametrize("budget", [16, 32, 64, 100])
async def test_a_larger_budget_is_spent_to_its_end(algorithm: str, budget: int) -> None:
    result = await search(algorithm=algorithm, budget=budget, actor=numbered_actor())
    assert (result.nodes, result.stop_reason) == (budget, "budget")


@pytest.mark.parametrize(("reason", "nodes"), [("depth", 9), ("no_candidates", 9), ("done", 1)])
async def test_a_strategy_that_is_done_gets_no_further_tree(
    reason: str, nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "once-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: once\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[spar.strategies]\nonce_{reason} = once_{reason}:once\n")
    (tmp_path / f"once_{reason}.py").write_text(
        "async def once(expansion, root):\n"
        "    await expansion.refine_all(expansion.branches(root)[:1])\n"
        f"    return {reason!r}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = await search(algorithm=f"once_{reason}", budget=9, actor=numbered_actor())
    assert (result.nodes, result.stop_reason) == (nodes, "done" if reason == "done" else "budget")


@pytest.mark.parametrize("algorithm", TREES)
async def test_an_explicit_depth_binds_whatever_the_budget(algorithm: str) -> None:
    result = await search(algorithm=algorithm, budget=64, max_depth=1, actor=numbered_actor())
    assert (result.nodes, result.stop_reason, result.calls["actor"]) == (3, "depth", 1)


async def test_the_next_tree_starts_from_a_fresh_draft_which_is_a_node() -> None:
    result = await search(budget=32, actor=numbered_actor())
    assert result.calls["actor"] == 3
    fresh = [node for node in result.tree if node.depth == 1 and node.completion and "draft" in node.completion.text]
    assert [node.path for node in fresh] == [(3,), (4,)]
    assert sum(node.path[:1] == (3,) for node in result.tree) == 16


async def test_a_fresh_draft_that_is_accepted_is_the_answer() -> None:
    judge = judging(lambda response: YES if response == "draft 1" else NO)
    result = await search(budget=64, actor=numbered_actor(), judge=judge)
    assert (result.answer.text, result.stop_reason, result.nodes) == ("draft 1", "refined_accepted", 16)


async def test_a_tree_that_ends_early_leaves_its_nodes_to_the_next_tree() -> None:
    judge = judging(lambda response: YES if response == "draft 1" else NO)
    stubborn = ScriptedBackend(always("[[start]]\ndraft 0\n[[end]]"))
    result = await search(budget=15, actor=numbered_actor(), judge=judge, refiner=stubborn)
    assert (result.answer.text, result.nodes) == ("draft 1", 10)


async def test_if_the_actor_repeats_itself_the_first_draft_is_refined_again() -> None:
    result = await search(budget=32, actor=ScriptedBackend(always("draft")))
    assert result.nodes == 32
    assert result.calls["actor"] == 2 + 1
    assert [node.outcome for node in result.tree].count("duplicate") == 2


async def test_a_draft_of_the_caller_is_the_only_one_that_is_refined() -> None:
    actor = numbered_actor()
    result = await search(budget=33, actor=actor, draft=Completion("given", "stop", Usage()))
    assert (result.nodes, actor.calls) == (33, [])
    assert len(texts(result, 1)) == 9


async def test_a_failed_fresh_draft_ends_the_search_with_the_best_answer_so_far() -> None:
    drafts = iter(["draft 0", BackendUnavailable("down")])
    result = await search(budget=64, actor=ScriptedBackend(lambda m, s: next(drafts)))
    assert (result.nodes, result.stop_reason, result.degraded) == (16, "upstream", True)


async def test_a_fresh_draft_that_calls_tools_is_not_judged_and_never_the_answer() -> None:
    drafts = iter(["draft 0", Completion("", "tool_calls", Usage(), {"tool_calls": [{"id": "1"}]})])
    judge = judging(lambda response: NO if response else YES)
    result = await search(budget=24, actor=ScriptedBackend(lambda m, s: next(drafts)), judge=judge)
    assert (result.answer.text, result.nodes, result.stop_reason) == ("draft 0", 24, "budget")


async def test_the_tree_of_a_smaller_budget_is_the_beginning_of_a_larger_ones() -> None:
    async def nodes(budget: int) -> list[object]:
        result = await search(budget=budget, actor=numbered_actor(), refiner=counting_refiner(), stop="level")
        return [(node.path, node.completion and node.completion.text) for node in result.tree]

    assert set(await nodes(20)) <= set(await nodes(64))
