"""Bootstrap intervals."""

import math
import random

import pytest

from spar_training.reports.intervals import (
    cluster_interval,
    interval,
    proportion_interval,
    statistic_interval,
    stratified_interval,
)


def test_an_interval_holds_its_mean_and_narrows_with_more_items() -> None:
    rng = random.Random(0)
    small = interval([float(rng.random() < 0.3) for _ in range(50)])
    large = interval([float(rng.random() < 0.3) for _ in range(5000)])
    for each in (small, large):
        assert each.low <= each.mean <= each.high
    assert large.high - large.low < small.high - small.low
    assert large.low < 0.3 < large.high


def test_constant_values_have_an_interval_without_width() -> None:
    one = interval([1.0] * 10)
    assert (one.low, one.mean, one.high) == (1.0, 1.0, 1.0)


def test_no_values_give_nan() -> None:
    assert math.isnan(interval([]).mean)


def test_items_of_one_cluster_are_not_independent() -> None:
    rng = random.Random(0)
    # The ten values of each cluster are equal.
    clusters = [[float(rng.random() < 0.5)] * 10 for _ in range(40)]
    together = cluster_interval(clusters)
    alone = interval([value for cluster in clusters for value in cluster])
    assert together.mean == pytest.approx(alone.mean)
    assert together.n == alone.n == 400
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_clusters_are_weighted_by_their_size() -> None:
    assert cluster_interval([[1.0], [0.0, 0.0, 0.0], []]).mean == 0.25


def test_strata_are_weighted_equally_whatever_their_size() -> None:
    found = stratified_interval([[[1.0]] * 5, [[0.0]] * 500])
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 505)
    assert math.isnan(stratified_interval([[[1.0]], []]).mean)


def test_any_statistic_has_an_interval() -> None:
    found = statistic_interval(range(100), lambda drawn: float(max(drawn)))
    assert found.mean == 99
    assert found.low < 99


@pytest.mark.parametrize(
    ("true", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (20, 20, 0.8389, 1.0), (5, 10, 0.2366, 0.7634)],
)
def test_a_proportion_has_a_wilson_interval(true: int, n: int, low: float, high: float) -> None:
    found = proportion_interval([True] * true + [False] * (n - true))
    assert found.mean == true / n
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
    assert found.n == n


def test_a_proportion_of_nothing_has_no_items() -> None:
    assert proportion_interval([]).n == 0
