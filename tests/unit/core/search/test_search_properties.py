"""Properties of every strategy, whatever the models answer and wherever the search fails or ends."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendError, BackendUnavailable
from spar_core.search import STRATEGIES, SearchResult
from tests.support.searching import NO, YES, search

configs = st.fixed_dictionaries(
    {
        "algorithm": st.sampled_from(sorted(STRATEGIES)),
        "budget": st.integers(0, 24),
        "branch": st.integers(1, 4),
        "beam": st.integers(1, 3),
        "max_depth": st.sampled_from([None, 1, 2, 4]),
        "votes": st.integers(1, 5),
        "threshold": st.sampled_from([0.0, 0.4, 0.5, 0.9]),
        "stop": st.sampled_from(["first", "level"]),
        "select": st.sampled_from(["greedy", "sample"]),
        "early_vote_stop": st.booleans(),
        "max_search_tokens": st.sampled_from([None, 9, 40, 120, 400]),
        "seed": st.integers(0, 3),
    }
)


class World:
    """Models that answer, fail, delay and repeat themselves at random, from a seed."""

    def __init__(self, seed: int, faults: float) -> None:
        self.rng = random.Random(seed)
        self.faults = faults
        self.actor = ScriptedBackend(lambda m, s: self._say(f"answer {self.rng.randint(0, 30)}"))
        self.judge = ScriptedBackend(lambda m, s: self._say(self.rng.choice([YES, NO, NO, "well"])))
        self.refiner = ScriptedBackend(
            lambda m, s: self._say(
                self.rng.choice([f"[[start]]\n{self.rng.randint(0, 30)}\n[[end]]", "[[start]]\ncut"])
            )
        )

    def _say(self, text: str) -> str | BaseException:
        for backend in (self.actor, self.judge, self.refiner):
            backend.latency_s = self.rng.choice([0, 0, 0.001, 0.002])
        return BackendUnavailable("fault") if self.rng.random() < self.faults else text

    @property
    def backends(self) -> tuple[ScriptedBackend, ...]:
        return (self.actor, self.judge, self.refiner)


def check_result(result: SearchResult, world: World, budget: int, tokens: int | None) -> None:
    assert result.nodes <= budget
    for role, backend in zip(("actor", "judge", "refiner"), world.backends, strict=True):
        assert result.calls.get(role, 0) == len(backend.calls)
    spent = sum(usage.completion_tokens for usage in result.usage.values())
    assert tokens is None or spent <= tokens
    paths = {node.path for node in result.tree}
    assert all(path == () or path[:-1] in paths for path in paths)
    if result.improved:
        assert result.value is not None
        assert result.accepted or (result.draft_value is not None and result.value > result.draft_value)
    best = max((node.value or 0.0 for node in result.tree), default=0.0)
    assert not result.improved or result.value == best


@settings(max_examples=150, deadline=None)
@given(config=configs, seed=st.integers(0, 10**6), faults=st.sampled_from([0.0, 0.0, 0.2, 0.7]))
def test_bounds_hold_and_the_answer_is_never_below_the_draft(config: dict, seed: int, faults: float) -> None:  # type: ignore[type-arg]
    async def run() -> None:
        world = World(seed, faults)
        try:
            result = await search(actor=world.actor, judge=world.judge, refiner=world.refiner, **config)
        except BackendError:
            assert world.actor.finished == 0
        else:
            check_result(result, world, config["budget"], config["max_search_tokens"])
        assert [backend.running for backend in world.backends] == [0, 0, 0]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(config=configs, seed=st.integers(0, 10**6), ticks=st.integers(0, 40))
def test_cancellation_leaves_nothing_running(config: dict, seed: int, ticks: int) -> None:  # type: ignore[type-arg]
    async def run() -> None:
        world = World(seed, 0.1)
        task = asyncio.create_task(search(actor=world.actor, judge=world.judge, refiner=world.refiner, **config))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [backend.running for backend in world.backends] == [0, 0, 0]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
