"""`spar train distill`: run the passes with progress shown, and print the counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass

from rich.console import Console

from spar_training.distill.pipeline import Distilled, DistillPipeline
from spar_training.distill.settings import DistillSettings
from spar_training.inference.client import open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import OnProgress, Policy, Progress


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """A model by its name at the URLs, or without URLs by its folder."""

    model: str
    urls: Sequence[str] = ()


def run(
    settings: DistillSettings,
    *,
    teacher: ModelLocation,
    drafter: ModelLocation | None,
    key_env: str,
    in_flight: int,
    answer_s: float | None = None,
) -> None:
    """Run the distillation, and print the counts.

    Raises:
        ConfigError: a setting is invalid, or the folder holds other work.
        DataError: the prompts cannot be used.
        BackendUnavailable: a model cannot be reached; finished work is saved.
        BackendError: no reply of a pass can be used; the next run repeats that pass.
    """
    console = Console(stderr=True)
    done = asyncio.run(_run(settings, teacher, drafter, key_env, in_flight, answer_s, console))
    roles = Counter(row["role"] for row in done.refiner)
    verdicts = Counter(row["verdict"] for row in done.refiner if row["role"] == "judge")
    console.print(
        f"actor: {len(done.actor):,} answers in {settings.out / 'sft_actor.jsonl'}", soft_wrap=True, markup=False
    )
    console.print(
        f"refiner: {roles['judge']:,} judgements ({verdicts['Yes']:,} Yes, {verdicts['No']:,} No) and "
        f"{roles['refiner']:,} refinements in {settings.out / 'sft_refiner.jsonl'}",
        soft_wrap=True,
        markup=False,
    )
    for (name, reason), count in Counter((row["pass"], row["reason"]) for row in done.set_aside).most_common():
        console.print(f"set aside: {count:,} of {name}: {reason}", soft_wrap=True, markup=False)


async def _run(
    settings: DistillSettings,
    teacher: ModelLocation,
    drafter: ModelLocation | None,
    key_env: str,
    in_flight: int,
    answer_s: float | None,
    console: Console,
) -> Distilled:
    def show(name: str) -> AbstractContextManager[OnProgress]:
        return item_progress(name, console=console, live=_Accepted() if name == "judgements" else None)

    async with AsyncExitStack() as stack:
        opening = [
            open_backend(place.model, urls=place.urls, key_env=key_env, in_flight=in_flight, answer_s=answer_s)
            for place in (teacher, drafter)
            if place
        ]
        backends = [await stack.enter_async_context(one) for one in opening]
        pipeline = DistillPipeline(
            settings,
            teacher=backends[0],
            drafter=backends[1] if drafter else None,
            policy=Policy(in_flight=in_flight),
            show=show,
        )
        return await pipeline.run()


class _Accepted:
    """The share of Yes among this run's judgements."""

    def __init__(self) -> None:
        self._yes = self._judged = 0

    def __call__(self, progress: Progress) -> str:
        if progress.row is not None:
            self._judged += 1
            self._yes += progress.row["verdict"]
        return f"{self._yes / self._judged:.0%} Yes" if self._judged else ""
