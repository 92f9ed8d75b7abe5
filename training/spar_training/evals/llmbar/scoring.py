"""What the votes say: accuracy, F1, abstentions, and the consistency of choices over both orders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spar_core.judge import Judgement, Vote
from spar_training.evals.llmbar.pairs import SUBSETS
from spar_training.reports.intervals import Interval, clustered, mean_of_strata
from spar_training.storage.files import Row

ADVERSARIAL = SUBSETS[1:]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one subset, or of the mean of several, at one number of votes.

    `accuracy` counts an abstention as not right, `decided` leaves it out; `abstained` is its share. `f1` is that of the
    verdict Yes. Intervals draw pairs with both their judgements.
    """

    accuracy: Interval
    decided: Interval
    f1: float
    abstained: float


def figures(rows: Sequence[Row], votes: int) -> dict[str, Figures]:
    """By subset, and the means `Adversarial` (of four) and `Average` (of five); by each row's first `votes` votes."""
    by_subset: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_subset[row["id"].split("/")[0]].append(row)
    found = {name: _of_subset(by_subset[name], votes) for name in SUBSETS}
    for mean, names in (("Adversarial", ADVERSARIAL), ("Average", SUBSETS)):
        found[mean] = Figures(
            mean_of_strata([_pairs(by_subset[name], lambda row: _right(row, votes)) for name in names]),
            mean_of_strata([_pairs(by_subset[name], lambda row: _right_if_decided(row, votes)) for name in names]),
            sum(found[name].f1 for name in names) / len(names),
            sum(found[name].abstained for name in names) / len(names),
        )
    return found


def _of_subset(rows: Sequence[Row], votes: int) -> Figures:
    verdicts = [(verdict_of(row["votes"][:votes]), row["good"]) for row in rows]
    return Figures(
        clustered(_pairs(rows, lambda row: _right(row, votes))),
        clustered(_pairs(rows, lambda row: _right_if_decided(row, votes))),
        f1([(verdict is True, good) for verdict, good in verdicts]),
        sum(verdict is None for verdict, _ in verdicts) / len(rows) if rows else 0.0,
    )


def verdict_of(votes: Sequence[Row]) -> bool | None:
    """The strict majority of the votes that have a verdict, by the rule that the server judges by."""
    judgement = Judgement(tuple(Vote(vote["text"], vote["verdict"]) for vote in votes))
    return None if judgement.abstained else judgement.accepted


def f1(claims: Sequence[tuple[bool, bool]]) -> float:
    """F1 of (claimed, true) pairs; 0 where nothing true was claimed."""
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
    """The rows' values, those of one pair together."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (number := value(row)) is not None:
            clusters[row["id"].rpartition("/")[0]].append(number)
    return list(clusters.values())


@dataclass(frozen=True, slots=True)
class Pairwise:
    """`accuracy` over both orders; `consistent`: the share of pairs of which both orders prefer the same output."""

    accuracy: Interval
    consistent: Interval
    abstained: float


def pairwise(rows: Sequence[Row]) -> dict[str, Pairwise]:
    """By subset, and the means `Adversarial` and `Average`."""
    by_subset: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_subset[row["id"].split("/")[0]].append(row)
    right = {name: _pairs(by_subset[name], lambda row: float(_choice(row) == row["good"])) for name in SUBSETS}
    agreeing = {name: _agreeing(by_subset[name]) for name in SUBSETS}
    abstained = {name: _share([_choice(row) is None for row in by_subset[name]]) for name in SUBSETS}
    found = {name: Pairwise(clustered(right[name]), clustered(agreeing[name]), abstained[name]) for name in SUBSETS}
    for mean, names in (("Adversarial", ADVERSARIAL), ("Average", SUBSETS)):
        found[mean] = Pairwise(
            mean_of_strata([right[name] for name in names]),
            mean_of_strata([agreeing[name] for name in names]),
            sum(abstained[name] for name in names) / len(names),
        )
    return found


def _choice(row: Row) -> int | None:
    """What most votes prefer; None for a tie, or when none says."""
    counts = Counter(vote["choice"] for vote in row["votes"] if vote["choice"] is not None)
    best = counts.most_common(2)
    tied = len(best) == 2 and best[0][1] == best[1][1]
    return None if not best or tied else best[0][0]


def _agreeing(rows: Sequence[Row]) -> list[list[float]]:
    """For each pair, whether both orders prefer the same output: to be right twice, or wrong twice."""
    orders: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        choice = _choice(row)
        orders[row["id"].rpartition("/")[0]].append(None if choice is None else choice == row["good"])
    return [[float(None not in said and len(set(said)) == 1)] for said in orders.values()]


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
