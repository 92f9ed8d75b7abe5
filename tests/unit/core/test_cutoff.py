"""Running searches that a cutoff ends with their best answer so far."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.cutoff import Cutoff
from spar_core.errors import BackendTimeout
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Answers, Models, SearchConfig, Searcher
from spar_core.types import Message, Sampling
from tests.support.searching import NO, QUESTION, counting_refiner


async def answer(cutoff: Cutoff, *, refiner: ScriptedBackend, actor_s: float = 0.0, n: int = 1) -> Answers:
    templates, sampling = load_templates("compact"), Sampling(max_tokens=64)
    judge = ScriptedBackend(always(NO))
    models = Models(
        actor=ScriptedBackend(always("draft"), latency_s=actor_s),
        judge=Judge(backend=judge, templates=templates, votes=1, threshold=0.5, early_stop=True, sampling=sampling),
        refiner=Refiner(backend=refiner, templates=templates, sampling=sampling),
    )
    return await Searcher(models, SearchConfig(budget=4, votes=1)).run_n(QUESTION, n, cutoff=cutoff)


def stalling_refiner(begun: asyncio.Event, calls: int) -> ScriptedBackend:
    """A refiner that never answers; `begun` is set by its `calls`-th call."""
    numbers = itertools.count(1)

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        if next(numbers) == calls:
            begun.set()
        return "[[start]]\nlate\n[[end]]"

    return ScriptedBackend(script, latency_s=600)


@pytest.mark.parametrize("n", [1, 2])
async def test_at_the_cutoff_every_search_returns_its_best_so_far_and_leaves_no_call_running(n: int) -> None:
    begun = asyncio.Event()
    # The four nodes are one level of the first search, and one node of the second.
    cutoff, refiner = Cutoff(), stalling_refiner(begun, 3 if n == 1 else 4)
    task = asyncio.create_task(answer(cutoff, refiner=refiner, n=n))
    await asyncio.wait_for(begun.wait(), 60)
    cutoff.now()
    answers = await asyncio.wait_for(task, 60)
    assert {result.stop_reason for result in answers.results} == {"deadline"}
    assert [completion.text for completion in answers.completions] == ["draft"] * n
    assert refiner.running == 0


async def test_a_cutoff_before_the_draft_is_the_error_of_a_deadline() -> None:
    cutoff = Cutoff()
    task = asyncio.create_task(answer(cutoff, actor_s=600, refiner=counting_refiner()))
    await asyncio.sleep(0.01)
    cutoff.now()
    with pytest.raises(BackendTimeout):
        await asyncio.wait_for(task, 60)


async def test_work_that_starts_after_the_cutoff_ends_at_its_first_wait() -> None:
    cutoff = Cutoff()
    cutoff.now()
    with pytest.raises(TimeoutError), cutoff.timeout(None):
        await asyncio.sleep(60)
    with cutoff.timeout(60):
        """Work that does not wait is not interrupted."""


async def test_a_deadline_that_has_already_passed_is_not_changed_by_the_cutoff() -> None:
    cutoff, loop = Cutoff(), asyncio.get_running_loop()

    async def late() -> None:
        with cutoff.timeout(0):
            # Between the deadline's own cancellation and the wake-up of the cancelled task.
            loop.call_soon(cutoff.now)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await late()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
