"""A study's findings and every item's outcome as one result file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spar_training.evals.intervals import Interval
from spar_training.reports.result import Result
from spar_training.self_play.against import Against
from spar_training.self_play.bars import bars
from spar_training.self_play.findings import Findings
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.played import Rows


def to_result(outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any]) -> Result:
    """The result. An item is an evaluation: its outcomes as strings of digits, 1 for all constraints met.

    The n-th digit is that of the n-th of `prompts`. `good` and `judged_right` are of the start's drafts.
    """
    return Result(
        name="self-play",
        config={**config, "bars": [[bar.claim, bar.measured, bar.verdict] for bar in bars(outcomes, findings)]},
        models={},
        figures=_figures(findings),
        items=[
            {
                "id": f"{run.arm}-{run.seed}/iteration-{iteration}",
                "prompts": " ".join(one.drafts),
                "strict": _digits(one.drafts, "strict"),
                "loose": _digits(one.drafts, "loose"),
                "searched_strict": _digits(one.searched, "strict"),
                "searched_loose": _digits(one.searched, "loose"),
                "good": _joined(row["good"] for row in one.judged.values()),
                "judged_right": _joined(row["good"] is row["accepted"] for row in one.judged.values()),
            }
            for run in outcomes.runs
            for iteration, one in run.evaluations.items()
        ],
    )


def _figures(findings: Findings) -> dict[str, Interval | float]:
    figures: dict[str, Interval | float] = {}
    for point in findings.points:
        name = f"{point.arm}@{point.iteration}{'+search' if point.searched else ''}"
        for metric, value in point.accuracy.items():
            figures |= {f"{name}/{metric}": value, f"{name} - start/{metric}": point.gains[metric]}
        figures |= {f"{name}/prompt strict, seed {seed}": value for seed, value in point.by_seed.items()}
        figures[f"{name}/words"] = point.words
    for refiner in findings.refining:
        name = f"{refiner.arm}@{refiner.iteration}/refiner"
        for key in ("accuracy", "f1", "success", "success_by_own_judge", "mended"):
            figures[f"{name}/{key}"] = getattr(refiner, key)
        for key in ("accuracy_gain", "f1_gain", "mended_gain"):
            figures[f"{name}/{key}"] = getattr(refiner, key)
    for made in findings.pairs:
        name = f"{made.arm}@{made.iteration}/pairs"
        for key in ("similarity", "chosen_right", "rejected_wrong", "both", "chosen_words", "rejected_words"):
            figures[f"{name}/{key}"] = getattr(made, key)
        figures |= {f"{name}/count, seed {seed}": float(count) for seed, count in made.counts.items()}
    if search := findings.search:
        figures |= {f"search - draft@{findings.last}/{metric}": value for metric, value in search.over_draft.items()}
        figures |= {f"search@{findings.last} - search@0/{metric}": v for metric, v in search.over_first_search.items()}
        figures["errors removed"] = search.errors_removed
        figures["errors removed by the search alone"] = search.errors_removed_by_search_alone
    figures |= _against("by iteration", findings.contrasts)
    return figures | _against("ablation", findings.ablations)


def _against(kind: str, found: Iterable[Against]) -> dict[str, Interval | float]:
    return {
        f"{kind}: {one.arm}@{one.iteration} - {one.base}/{key}": getattr(one, key)
        for one in found
        for key in ("prompt", "instruction", "judge", "mended")
    }


def _digits(rows: Rows, mode: str) -> str:
    return _joined(all(row[mode]) for row in rows.values())


def _joined(values: Iterable[bool]) -> str:
    return "".join("1" if value else "0" for value in values)
