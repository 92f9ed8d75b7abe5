"""A run's findings and every item's outcome as one result file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar_training.evals.intervals import Interval
from spar_training.reports.result import Result
from spar_training.scaling.arm import Arm
from spar_training.scaling.findings import Findings, Trials, budgets_of
from spar_training.scaling.trial import Trial


def to_result(
    findings: Findings,
    arms: Sequence[Arm],
    trials: Trials,
    *,
    config: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    budgets: Sequence[int],
) -> Result:
    """The result. An item is an arm: its outcomes as one string of digits a budget, 1 for all constraints met.

    The n-th digit, and the n-th number, is that of the n-th of `cells`: a prompt's number in its split, and a seed.
    """
    return Result(
        name="scaling",
        config=config,
        models=models,
        figures=_figures(findings),
        items=[_item(arm, trials[arm.name], budgets) for arm in arms],
    )


def _item(arm: Arm, trials: Sequence[Trial], budgets: Sequence[int]) -> dict[str, Any]:
    at = budgets_of(arm, budgets) if arm.group != "ablation" else [arm.search.budget]
    return {
        "id": arm.name,
        "group": arm.group,
        "cells": " ".join(f"{trial.index}/{trial.seed}" for trial in trials),
        "strict": {str(b): _digits([trial.answer(b).strict for trial in trials]) for b in at},
        "loose": {str(b): _digits([trial.answer(b).loose for trial in trials]) for b in at},
        "accepted": {str(b): _digits([trial.answer(b).accepted for trial in trials]) for b in at},
        "tokens": {str(b): " ".join(str(trial.spent(b).tokens) for trial in trials) for b in at},
        "calls": {str(b): " ".join(str(trial.spent(b).calls) for trial in trials) for b in at},
    }


def _digits(values: Sequence[bool]) -> str:
    return "".join("1" if value else "0" for value in values)


def _figures(findings: Findings) -> dict[str, Interval | float]:
    figures: dict[str, Interval | float] = {}
    for one in findings.points:
        name = f"{one.arm}@{one.budget}"
        figures |= {f"{name}/strict": one.strict, f"{name}/loose": one.loose}
        # The judge has no opinion on answers that it was not shown.
        if one.accepted.n:
            figures |= {f"{name}/judge_accepts": one.accepted, f"{name}/judge_value": one.value}
        figures |= {f"{name}/calls": one.calls, f"{name}/tokens": one.tokens, f"{name}/nodes": one.nodes}
        if (seconds := findings.seconds.get(one.arm, {}).get(one.budget)) is not None:
            figures[f"{name}/seconds"] = seconds
    for comparison in findings.comparisons:
        theirs = f"{comparison.reference}@{comparison.reference_budget}"
        name = f"{comparison.method}@{comparison.budget} - {theirs}, equal {comparison.axis}"
        figures[name] = comparison.difference
    for row in findings.ablations[1:]:
        name = f"ablation {row.factor}={row.setting}"
        figures |= {f"{name}/strict": row.point.strict, f"{name}/difference": row.difference}
        figures |= {f"{name}/tokens": row.point.tokens, f"{name}/calls": row.point.calls}
    for saving in findings.savings:
        name = f"early vote stop, {saving.votes} votes"
        figures |= {f"{name}/judge_tokens_saved": saving.tokens_saved, f"{name}/difference": saving.difference}
    return figures
