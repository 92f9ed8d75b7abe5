"""Ask a model folder: each prompt several times, and keep what it said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spar_core.seeds import derive_seed
from spar_training.inference.client import open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.storage.files import Row, read_rows
from spar_training.studies.interference.recipe import SamplingSettings
from spar_training.studies.interference.tasks.base import Asked

_IN_FLIGHT = 192


async def ask(
    model: Path,
    prompts: Sequence[Asked],
    *,
    samples: int,
    sampling: SamplingSettings,
    seed: int,
    out: Path,
    label: str,
    judge: Callable[[Asked, str], Row] | None = None,
) -> list[Row]:
    """A row a prompt with its `texts` and, with `judge`, what that says of each under its names; done work is read.

    The same prompt hears the same seeds of every model.
    """
    if (done := _done(out)) is not None:
        return done
    with item_progress(label) as tell:
        async with open_backend(str(model), in_flight=_IN_FLIGHT) as backend:

            async def work(asked: Asked) -> dict[str, Any]:
                seeds = [derive_seed(seed, asked.id, number) for number in range(samples)]
                said = await asyncio.gather(
                    *[backend.complete(asked.conversation, sampling.sampling(one)) for one in seeds]
                )
                texts = [completion.text for completion in said]
                judged = [judge(asked, text) for text in texts] if judge else []
                return {"texts": texts} | {name: [one[name] for one in judged] for name in (judged or [{}])[0]}

            # So many prompts that all their samples fit into the engine at once.
            return await run_items(
                prompts, work, out=out, policy=Policy(in_flight=max(1, _IN_FLIGHT // samples)), on_progress=tell
            )


def _done(out: Path) -> list[Row] | None:
    """What an earlier run finished, so that no model is loaded for it."""
    return list(read_rows(out, needs=("id",))) if out.exists() else None
