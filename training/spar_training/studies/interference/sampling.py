"""Sample answers from a model folder, several for each prompt, and store them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spar_core.seeds import derive_seed
from spar_core.types import Sampling
from spar_training.inference.client import open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.storage.files import Row, read_rows
from spar_training.studies.interference.tasks.base import TaskPrompt

_IN_FLIGHT = 192


async def ask(
    model: Path,
    prompts: Sequence[TaskPrompt],
    *,
    samples: int,
    sampling: Sampling,
    seed: int,
    out: Path,
    label: str,
    measure: Callable[[TaskPrompt, str], Row] | None = None,
) -> list[Row]:
    """Return one row per prompt with its `texts` and, with `measure`, their measurements; finished work is read.

    A prompt gets the same seeds with every model.
    """
    if (done := _done(out)) is not None:
        return done
    with item_progress(label) as on_progress:
        async with open_backend(str(model), in_flight=_IN_FLIGHT) as backend:

            async def work(prompt: TaskPrompt) -> dict[str, Any]:
                seeds = [derive_seed(seed, prompt.id, number) for number in range(samples)]
                completions = await asyncio.gather(
                    *[backend.complete(prompt.conversation, sampling.seeded(one)) for one in seeds]
                )
                texts = [completion.text for completion in completions]
                measured = [measure(prompt, text) for text in texts] if measure else []
                return {"texts": texts} | {name: [one[name] for one in measured] for name in (measured or [{}])[0]}

            # As many prompts as fit into the engine at once with all their samples.
            policy = Policy(in_flight=max(1, _IN_FLIGHT // samples))
            return await run_items(prompts, work, out=out, policy=policy, on_progress=on_progress)


def _done(out: Path) -> list[Row] | None:
    """Return the rows of an earlier run, for which no model has to be loaded."""
    return list(read_rows(out, needs=("id",))) if out.exists() else None
