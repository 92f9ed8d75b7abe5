"""A run with scripted models: what it says when it cannot go on."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spar_core.errors import DataError
from spar_core.types import Message, Sampling
from spar_training.loop import Loop
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import Recipe
from tests.support.scripted_stages import ScriptedExecutor


async def test_a_run_whose_votes_rarely_have_a_verdict_ends_with_their_number(tmp_path: Path) -> None:
    def actor(messages: Sequence[Message], sampling: Sampling) -> str:
        return f"answer {sampling.seed}"

    verdicts = iter(["Final Judgement: Yes"] * 3)

    def refiner(messages: Sequence[Message], sampling: Sampling) -> str:
        return next(verdicts, "I like this response.")

    recipe = Recipe.model_validate(
        {
            "name": "r",
            "templates": "compact",
            "in_flight": 1,
            "prompts": {"source": "world", "per_iteration": 8},
            "sample": {"responses": 2},
            "judge": {"votes": 3},
        }
    )
    loop = Loop(
        run=open_run(tmp_path, recipe), executor=ScriptedExecutor(actor, refiner), console=Console(file=StringIO())
    )
    with pytest.raises(DataError, match=r"dpo\.jsonl: is empty.* 45 of 48 votes have no verdict, .* 'compact'"):
        await loop.run_iterations()
