"""Intervals: of proportions, of other means, and by the bootstrap of any statistic."""

import math
import random

import pytest

from spar_training.reports.intervals import (
    cluster_interval,
    difference_interval,
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


@pytest.mark.parametrize(("true", "n"), [(0, 10), (10, 10), (20, 20), (5, 10), (19, 20), (1, 1)])
def test_the_mean_of_outcomes_has_the_interval_of_a_proportion(true: int, n: int) -> None:
    outcomes = [1.0] * true + [0.0] * (n - true)
    assert interval(outcomes) == proportion_interval([outcome == 1.0 for outcome in outcomes])


def test_no_interval_of_items_that_all_agree_has_zero_width() -> None:
    agreeing = {
        interval([0.5] * 10): (0.5 - 0.1388, 0.5 + 0.1388),
        interval([5.0] * 10, highest=5.0): (5 - 5 * 0.2775, 5.0),
        difference_interval([0.0] * 10): (-0.2775, 0.2775),
        difference_interval([1.0] * 10): (1 - 2 * 0.2775, 1.0),
        cluster_interval([[1.0, 1.0]] * 10): (0.7225, 1.0),
        cluster_interval([[0.0, 0.0]] * 10, lowest=-1.0): (-0.2775, 0.2775),
        statistic_interval([0.0] * 10, max): (0.0, 0.2775),
        stratified_interval([[[1.0]] * 10, [[1.0]] * 10]): (1 - 0.2775 / 2**0.5, 1.0),
        stratified_interval([[[0.0]] * 10], lowest=-1.0): (-0.2775, 0.2775),
        interval([0.7]): (0.7 * (1 - 0.7935), 0.7 + 0.3 * 0.7935),
    }
    for found, (low, high) in agreeing.items():
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_the_interval_of_differences_is_that_of_paired_items() -> None:
    found = difference_interval([1.0] * 6 + [0.0] * 13 + [-1.0])
    assert found.mean == 0.25
    assert -0.1 < found.low < 0.25 < found.high < 0.6


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
    assert (found.mean, found.n) == (0.5, 505)
    # Five items that agree show less than 500 do.
    assert found.mean - found.low > 20 * (found.high - found.mean)
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
