"""Scores of the votes: accuracy, F1, abstentions, and the consistency of choices over both orders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spar_core.judge import Judgement, Vote
from spar_training.evals.llmbar.pairs import SUBSETS
from spar_training.reports.intervals import Interval, cluster_interval, stratified_interval
from spar_training.storage.files import Row

ADVERSARIAL = SUBSETS[1:]


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one subset, or the means of several, at one number of votes.

    `accuracy` counts an abstention as wrong, `decided` leaves it out; `abstained` is the share of abstentions. `f1` is
    that of the verdict Yes. Intervals resample pairs with both their judgements.
    """

    accuracy: Interval
    decided: Interval
    f1: float
    abstained: float


def figures(rows: Sequence[Row], votes: int) -> dict[str, Figures]:
    """Score each row by its first `votes` votes.

    Returns the figures by subset, and the means `Adversarial` (of four subsets) and `Average` (of all five).
    """
    by_subset: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_subset[row["id"].split("/")[0]].append(row)
    found = {name: _of_subset(by_subset[name], votes) for name in SUBSETS}
    for mean, names in (("Adversarial", ADVERSARIAL), ("Average", SUBSETS)):
        found[mean] = Figures(
            stratified_interval([_pairs(by_subset[name], lambda row: _right(row, votes)) for name in names]),
            stratified_interval([_pairs(by_subset[name], lambda row: _right_if_decided(row, votes)) for name in names]),
            sum(found[name].f1 for name in names) / len(names),
            sum(found[name].abstained for name in names) / len(names),
        )
    return found


def _of_subset(rows: Sequence[Row], votes: int) -> Figures:
    verdicts = [(verdict_of(row["votes"][:votes]), row["good"]) for row in rows]
    return Figures(
        cluster_interval(_pairs(rows, lambda row: _right(row, votes))),
        cluster_interval(_pairs(rows, lambda row: _right_if_decided(row, votes))),
        f1([(verdict is True, good) for verdict, good in verdicts]),
        sum(verdict is None for verdict, _ in verdicts) / len(rows) if rows else 0.0,
    )


def verdict_of(votes: Sequence[Row]) -> bool | None:
    """Return the strict majority of the votes with a verdict, by the server's rule; None if the judge abstains."""
    judgement = Judgement(tuple(Vote(vote["text"], vote["verdict"]) for vote in votes))
    return None if judgement.abstained else judgement.accepted


def f1(claims: Sequence[tuple[bool, bool]]) -> float:
    """Return the F1 of (claimed, true) pairs; 0 if nothing true was claimed."""
    hits = sum(claimed and true for claimed, true in claims)
    missed = sum(true and not claimed for claimed, true in claims)
    wrong = sum(claimed and not true for claimed, true in claims)
    return 2 * hits / (2 * hits + missed + wrong) if hits else 0.0


def _right(row: Row, votes: int) -> float | None:
    return float(verdict_of(row["votes"][:votes]) is row["good"])


def _right_if_decided(row: Row, votes: int) -> float | None:
    verdict = verdict_of(row["votes"][:votes])
    return None if verdict is None else float(verdict is row["good"])


def _pairs(rows: Sequence[Row], value: Callable[[Row], float | None]) -> list[list[float]]:
    """Group the rows' values by pair."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (number := value(row)) is not None:
            clusters[row["id"].rpartition("/")[0]].append(number)
    return list(clusters.values())


@dataclass(frozen=True, slots=True)
class Pairwise:
    """`accuracy` over both orders; `consistent`: the share of pairs where both orders lead to the same choice."""

    accuracy: Interval
    consistent: Interval
    abstained: float


def pairwise(rows: Sequence[Row]) -> dict[str, Pairwise]:
    """Return the pairwise figures by subset, and the means `Adversarial` and `Average`."""
    by_subset: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_subset[row["id"].split("/")[0]].append(row)
    right = {name: _pairs(by_subset[name], lambda row: float(_choice(row) == row["good"])) for name in SUBSETS}
    agreeing = {name: _agreeing(by_subset[name]) for name in SUBSETS}
    abstained = {name: _share([_choice(row) is None for row in by_subset[name]]) for name in SUBSETS}
    found = {
        name: Pairwise(cluster_interval(right[name]), cluster_interval(agreeing[name]), abstained[name])
        for name in SUBSETS
    }
    for mean, names in (("Adversarial", ADVERSARIAL), ("Average", SUBSETS)):
        found[mean] = Pairwise(
            stratified_interval([right[name] for name in names]),
            stratified_interval([agreeing[name] for name in names]),
            sum(abstained[name] for name in names) / len(names),
        )
    return found


def _choice(row: Row) -> int | None:
    """Return the choice of most votes; None if they tie or name none."""
    counts = Counter(vote["choice"] for vote in row["votes"] if vote["choice"] is not None)
    best = counts.most_common(2)
    tied = len(best) == 2 and best[0][1] == best[1][1]
    return None if not best or tied else best[0][0]


def _agreeing(rows: Sequence[Row]) -> list[list[float]]:
    """Return for each pair whether both orders lead to the same choice: right twice, or wrong twice."""
    orders: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        choice = _choice(row)
        orders[row["id"].rpartition("/")[0]].append(None if choice is None else choice == row["good"])
    return [[float(None not in choices and len(set(choices)) == 1)] for choices in orders.values()]


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
