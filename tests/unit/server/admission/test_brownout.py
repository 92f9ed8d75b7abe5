"""Budgets under load: down step by step, and up again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from spar_server.admission.brownout import Brownout
from spar_server.settings import BrownoutSettings

ON = BrownoutSettings(enabled=True, above=1.5, below=0.75, step_s=5)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_off_unless_switched_on() -> None:
    clock = Clock()
    brownout = Brownout(BrownoutSettings(), clock=clock)
    brownout.observe(100)
    clock.now = 1000
    assert (brownout.level, brownout.lowered(64)) == (0, 64)


def test_a_load_that_stays_high_takes_a_step_for_each_period_up_to_the_last() -> None:
    clock = Clock()
    brownout = Brownout(ON, clock=clock)
    brownout.observe(2)
    budgets = []
    for second in (0, 4.9, 5, 9.9, 10, 15, 100):
        clock.now = second
        budgets.append(brownout.lowered(64))
    assert budgets == [64, 64, 32, 32, 16, 0, 0]


def test_it_recovers_step_by_step_even_without_requests() -> None:
    clock = Clock()
    brownout = Brownout(ON, clock=clock)
    brownout.observe(2)
    clock.now = 15
    brownout.observe(0.1)
    levels = []
    for second in (15, 19.9, 20, 25, 30, 60):
        clock.now = second
        levels.append(brownout.level)
    assert levels == [3, 3, 2, 1, 0, 0]


def test_between_the_two_loads_the_level_rests() -> None:
    clock = Clock()
    brownout = Brownout(ON, clock=clock)
    brownout.observe(2)
    clock.now = 5
    brownout.observe(1)
    clock.now = 1000
    assert brownout.level == 1


def test_a_short_peak_changes_nothing() -> None:
    clock = Clock()
    brownout = Brownout(ON, clock=clock)
    for _ in range(100):
        brownout.observe(2)
        clock.now += 4
        brownout.observe(1)
        clock.now += 4
    assert brownout.level == 0


def test_a_small_budget_keeps_a_node_until_the_last_level() -> None:
    clock = Clock()
    brownout = Brownout(ON, clock=clock)
    brownout.observe(2)
    budgets = []
    for second in (5, 10, 15):
        clock.now = second
        budgets.append((brownout.lowered(1), brownout.lowered(0)))
    assert budgets == [(1, 0), (1, 0), (0, 0)]


def test_thresholds_that_leave_no_rest_are_refused() -> None:
    with pytest.raises(ValidationError, match="below must be less than above"):
        BrownoutSettings(above=1, below=1)
