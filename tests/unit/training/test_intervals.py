"""Bootstrap intervals."""

import math
import random

from spar_training.evals.intervals import interval


def test_an_interval_holds_its_mean_and_narrows_with_more_items() -> None:
    rng = random.Random(0)
    small = interval([float(rng.random() < 0.3) for _ in range(50)])
    large = interval([float(rng.random() < 0.3) for _ in range(5000)])
    for each in (small, large):
        assert each.low <= each.mean <= each.high
    assert large.high - large.low < small.high - small.low
    assert large.low < 0.3 < large.high


def test_certain_values_have_no_width() -> None:
    one = interval([1.0] * 10)
    assert (one.low, one.mean, one.high) == (1.0, 1.0, 1.0)


def test_no_values_are_no_figure() -> None:
    assert math.isnan(interval([]).mean)
