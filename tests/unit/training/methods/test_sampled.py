"""Sampled pairs: SPaR's ablation without refinement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spar_core.types import Message, Sampling
from spar_training.methods import method_of
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from tests.support.pairs import refiner_script
from tests.support.scripted_stages import ScriptedExecutor

RECIPE = Recipe.model_validate(
    {
        "name": "r",
        "templates": "compact",
        "in_flight": 1,
        "method": {"kind": "sampled"},
        "sample": {"responses": 2},
        "judge": {"votes": 1},
        "prompts": {"source": "world", "per_iteration": 4},
        "actor_data": {"max_pairs": 3},
    }
)


async def test_a_pair_is_a_response_judged_yes_and_one_judged_no_and_nothing_is_refined(tmp_path: Path) -> None:
    drafts = 0

    def draft(messages: Sequence[Message], sampling: Sampling) -> str:
        nonlocal drafts
        drafts += 1
        return "better answer" if drafts % 2 else "a plain draft"

    iteration = Iteration(1, tmp_path)
    executor = ScriptedExecutor(draft, refiner_script)
    await executor.run_stages(RECIPE, iteration)
    assert list(iteration.steps()) == ["prompts", "sample", "judge"]
    data = method_of(RECIPE).training_data(iteration)
    pairs = data.rows["actor"]
    assert data.counts == {"pairs": 3, "conversations": 0}
    assert {pair["chosen"][0]["content"] for pair in pairs} == {"better answer"}
    assert {pair["rejected"][0]["content"] for pair in pairs} == {"a plain draft"}
