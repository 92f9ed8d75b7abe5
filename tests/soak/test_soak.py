"""A short soak; `make soak` runs it at full size."""

from __future__ import annotations

from tests.soak.soaking import soak


async def test_nothing_is_lost_with_faults_and_disconnecting_clients() -> None:
    run = await soak(requests=500, searches=40, measure_memory=False, traces=True)
    assert not run.problems
    answered = sum(count for outcome, count in run.outcomes.items() if outcome.endswith("200"))
    left = sum(count for outcome, count in run.outcomes.items() if outcome.endswith("left"))
    assert answered > 400
    assert left > 10
