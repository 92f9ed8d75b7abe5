"""The accuracy of a judge on good and on bad answers, so that one that accepts or rejects everything looks bad."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval, mean_interval, proportion_interval
from spar_training.storage.files import Row


def judged_right(row: Row) -> bool:
    """Whether the judge `accepted` a `good` answer or rejected a bad one.

    An abstention, whose `value` is None, is never right.
    """
    return row["value"] is not None and row["accepted"] is row["good"]


def judge_accuracy(rows: Sequence[Row]) -> dict[str, Interval]:
    """The figures `judge_on_good`, `judge_on_bad` and their mean `judge_balanced`, as far as there are such answers.

    The rows have the keys that `judged_right` reads.
    """
    found = {
        name: proportion_interval([judged_right(row) for row in rows if row["good"] is good])
        for name, good in (("judge_on_good", True), ("judge_on_bad", False))
    }
    if all(one.n for one in found.values()):
        found["judge_balanced"] = mean_interval(list(found.values()))
    return found
