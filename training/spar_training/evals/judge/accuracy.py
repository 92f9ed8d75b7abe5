"""The accuracy of a judge on good and on bad answers, so that one that accepts or rejects everything looks bad."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval, mean_interval, proportion_interval
from spar_training.storage.files import Row


def judge_accuracy(rows: Sequence[Row]) -> dict[str, Interval]:
    """The figures `judge_on_good`, `judge_on_bad` and their mean `judge_balanced`, as far as there are such answers.

    A row says whether the answer is `good`, whether the judge `accepted` it, and the `value` that it gave: None without
    a verdict, which is never right.
    """
    found = {
        "judge_on_good": proportion_interval([row["accepted"] for row in rows if row["good"]]),
        "judge_on_bad": proportion_interval(
            [row["value"] is not None and not row["accepted"] for row in rows if not row["good"]]
        ),
    }
    if all(one.n for one in found.values()):
        found["judge_balanced"] = mean_interval(list(found.values()))
    return found
