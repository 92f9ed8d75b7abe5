"""The bench's report as plain values: plots, tables and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table
from spar_training.reports.plots import Line, line_plot
from spar_training.reports.result import Result
from spar_training.studies.scaling import prose
from spar_training.studies.scaling.analysis import Axis, Comparison, Findings, Point, Trials, budgets_of
from spar_training.studies.scaling.arms import ABLATION_BUDGET, BEST_OF_ALL, DEFAULT_METHOD, REFERENCES, Arm
from spar_training.studies.scaling.prose import KINDS, method_name, percent
from spar_training.studies.scaling.trial import Trial

_BANDED: Final = (DEFAULT_METHOD, *REFERENCES)
# Answers of samples alone: lines of one sample, along the x-axis. They stand in the table.
_NOT_DRAWN: Final = ("self_consistency", "similarity")
_AXES: Final[tuple[Axis, ...]] = ("tokens", "calls", "budget")
_STRICT: Final = "all constraints met, strict, %"
_LEAVES: Final = (
    " Best-of-N that draws and judges all N ends here with the first N that costs more than all other methods; the "
    "table has the others."
)


def to_report(findings: Findings, config: Mapping[str, Any]) -> Report:
    """The report; a part that was not run is left out."""
    sections = [
        _scaling(findings),
        _best_of_n(findings),
        _opinion(findings),
        _perfect(findings),
        _votes(findings),
        _ablations(findings),
        _method(config),
    ]
    return Report("Test-time scaling", prose.summary(findings), [section for section in sections if section])


def _methods(findings: Findings) -> list[str]:
    """The methods' arms in the order of their points."""
    return [name for name in dict.fromkeys(one.arm for one in findings.points) if "+oracle" not in name]


def _lines(
    findings: Findings,
    arms: Sequence[str],
    x: Callable[[Point], float | None],
    y: Callable[[Point], Interval] = lambda one: one.strict,
    suffix: str = "",
) -> list[Line]:
    lines: list[Line] = []
    for arm in arms:
        points = [(place, one) for one in findings.line(arm) if (place := x(one)) is not None and y(one).n]
        if points:
            # Bands of all lines would cover one another: those that are compared have theirs, the table has all.
            ys = [y(one) if arm in _BANDED else _bare(y(one)) for _, one in points]
            lines.append(Line(method_name(arm) + suffix, [place for place, _ in points], ys))
    return lines


def _as_far_as_others(
    findings: Findings, arms: Sequence[str], x: Callable[[Point], float | None]
) -> Callable[[Point], float | None]:
    """The same places, but for best-of-N that judges all: none beyond the first that is farther than all others'.

    It costs tens of times as much at its end as any other method, whose lines would be one upright stroke.
    """
    others = [one for arm in arms if arm != BEST_OF_ALL for one in findings.line(arm)]
    most = max((place for one in others if (place := x(one)) is not None), default=0.0)
    beyond = [one.budget for one in findings.line(BEST_OF_ALL) if (x(one) or 0.0) > most]
    last = min(beyond, default=None)
    return lambda one: None if one.arm == BEST_OF_ALL and last is not None and one.budget > last else x(one)


def _bare(value: Interval) -> Interval:
    return Interval(value.mean, value.mean, value.mean, value.n)


def _scaling(findings: Findings) -> Section:
    axes: list[tuple[str, str, Callable[[Point], float | None]]] = [
        ("model calls an answer, mean", "calls", lambda one: one.calls),
        ("generated tokens an answer, mean", "tokens", lambda one: one.tokens),
        ("seconds an answer, mean", "seconds", lambda one: findings.seconds.get(one.arm, {}).get(one.budget)),
    ]
    drawn = [arm for arm in _methods(findings) if arm not in _NOT_DRAWN]
    figures = [
        Figure(
            line_plot(lines, x_label=label, y_label=_STRICT, log2=False),
            f"Accuracy by {label}; the bands are the 95% intervals of breadth first and of best-of-N of each kind."
            + (_LEAVES if BEST_OF_ALL in drawn else ""),
            f"One line a method: accuracy by the verifiers against {name}",
        )
        for label, name, x in axes
        if (lines := _lines(findings, drawn, _as_far_as_others(findings, drawn, x)))
    ]
    text = (
        "Every method starts from the same draft of each prompt and seed. A budget is the most nodes that may be "
        "expanded; a search ends when its judge accepts an answer, so the axes show what was spent, not what was "
        "allowed. Best-of-N that draws and judges all N has no such end. The judge never counts as quality.\n\n"
        + prose.self_consistency(findings)
    )
    return Section("Scaling by calls, tokens and seconds", text, [_points(findings, _methods(findings))], figures)


def _points(findings: Findings, arms: Sequence[str]) -> Table:
    header = ["method", "budget", "strict", "loose", "judge accepts", "calls", "tokens", "nodes", "seconds"]
    rows = [
        [
            method_name(arm),
            str(one.budget),
            percent(one.strict),
            percent(one.loose),
            percent(one.accepted),
            f"{one.calls:.2f}",
            f"{one.tokens:.0f}",
            f"{one.nodes:.2f}",
            "–" if (s := findings.seconds.get(arm, {}).get(one.budget)) is None else f"{s:.2f}",
        ]
        for arm in arms
        for one in findings.line(arm)
    ]
    return Table(header, rows, "Percent with 95% intervals; means of an answer")


def _best_of_n(findings: Findings) -> Section | None:
    if not findings.comparisons:
        return None
    wins = prose.where_best_of_n_wins(findings.comparisons, axes=_AXES)
    text = (
        f"{prose.KINDS_TOLD}\n\n{wins}\n\nAt equal tokens (or "
        "calls) N is the smallest with which best-of-N spends at least as much on the mean, so it is never given less, "
        "and up to one sample and its votes more; N counts the draft. Differences are the method's strict accuracy "
        "less that of best-of-N, paired by prompt; each interval is for its own comparison, and of twenty one may miss "
        "by chance."
    )
    tables = [
        _against(rows, f"At equal {axis}, against {KINDS[kind]}")
        for kind in REFERENCES
        for axis in _AXES
        if (rows := [c for c in findings.comparisons if (c.reference, c.axis) == (kind, axis)])
    ]
    return Section("Where best-of-N wins", text, tables)


def _against(comparisons: Sequence[Comparison], caption: str) -> Table:
    verdicts = {"method": "method ahead", "reference": "best-of-N ahead", "open": "open"}
    header = ["method", "budget", "N", "spent", "best-of-N spent", "difference", "verdict"]
    rows = [
        [
            method_name(c.method),
            str(c.budget),
            str(c.n),
            f"{c.spent:.1f}",
            f"{c.reference_spent:.1f}{'' if c.equal else ' (its most)'}",
            c.difference.signed(),
            verdicts[c.verdict],
        ]
        for c in comparisons
    ]
    return Table(header, rows, caption)


def _opinion(findings: Findings) -> Section | None:
    arms = [arm for arm in (DEFAULT_METHOD, *REFERENCES) if findings.line(arm)]
    if not arms:
        return None
    lines = [
        *_lines(findings, arms, lambda one: float(one.budget), suffix=", verifiers"),
        *_lines(findings, arms, lambda one: float(one.budget), lambda one: one.accepted, ", its judge"),
    ]
    svg = line_plot(lines, x_label="budget", y_label="share of answers, %")
    figure = Figure(
        svg,
        "What is true of the answers, and what the judge says.",
        "Verified accuracy and the judge's accepted share by budget",
    )
    return Section("Scaling and the judge's own opinion", prose.deception(findings), [], [figure])


def _perfect(findings: Findings) -> Section | None:
    oracles = [name for name in dict.fromkeys(one.arm for one in findings.points) if "+oracle" in name]
    if not oracles:
        return None
    arms = [arm for arm in (DEFAULT_METHOD, *REFERENCES) if findings.line(arm)] + oracles
    svg = line_plot(_lines(findings, arms, lambda one: float(one.budget)), x_label="budget", y_label=_STRICT)
    figure = Figure(
        svg,
        "Accuracy by budget with perfect halves; the bands are those of the real pair.",
        "One line a pairing of real and perfect halves",
    )
    text = (
        "The same searches with a judge that verifies and writes the true critique, and with a refiner that makes the "
        "smallest edit after which all checks pass. What a perfect half gains is what is left to gain by training that "
        "half."
    )
    return Section("Scaling with a perfect half", text, [_points(findings, oracles)], [figure])


def _votes(findings: Findings) -> Section | None:
    if not findings.savings:
        return None
    text = "Early stop asks for the fewest votes that can decide, and for the others only if those left it open.\n\n"
    return Section("Early vote stop", text + "\n".join(f"- {prose.saving(one)}" for one in findings.savings))


def _ablations(findings: Findings) -> Section | None:
    if not findings.ablations:
        return None
    header = ["changed", "to", "strict", "difference", "judge accepts", "calls", "tokens", "judge tokens", "seconds"]
    rows = [
        [
            row.factor,
            row.setting,
            percent(row.point.strict),
            row.difference.signed() if row.factor != "default" else "–",
            percent(row.point.accepted),
            f"{row.point.calls:.2f}",
            f"{row.point.tokens:.0f}",
            f"{row.point.judge_tokens:.0f}",
            "–" if (s := findings.seconds.get(row.point.arm, {}).get(row.point.budget)) is None else f"{s:.2f}",
        ]
        for row in findings.ablations
    ]
    text = (
        f"One thing changed at a time; the default is breadth first at budget {ABLATION_BUDGET} with branch 3, beam 2, "
        "depth 3, 5 votes with early stop, threshold 0.5, whole levels awaited. `stop=first` cancels the siblings of "
        "an accepted node: what they had said before counts as spent, and which sibling comes first is a matter of "
        "timing. `checks=on` gives the search the prompt's own verifiers, as a request's `refine.checks` does."
    )
    return Section("Ablations of the search", text, [Table(header, rows, "Percent with 95% intervals, paired")])


def _method(config: Mapping[str, Any]) -> Section:
    lines = [
        f"{config['prompts']} {config['split']} prompts of the small world, seeds 0 to {config['seeds'] - 1}; pair: "
        f"{config['pair']}.",
        "Quality: every check of the prompt passes (`spar_core/checks`), as IFEval's prompt-level accuracy. Intervals: "
        "a figure's seeds are averaged within each prompt, then the prompts are resampled (95%, percentile bootstrap).",
        "Drafts and best-of-N's samples: temperature 0.9, top_p 0.9. Judgements and refinements: temperature 0.7. A "
        "response's votes belong to its text and seed: methods that meet the same text hear the same votes. "
        "Siblings are awaited, so the tree of a small budget is the beginning of a larger one's and one search tells "
        "all budgets. Breadth first ends at 15 nodes and depth first at 21, whatever the budget.",
        "Completions are kept by what was asked, and equal calls are made once; each search is charged for all its "
        "calls as if it had made them.",
    ]
    by_url = "actor" in config
    if by_url:
        lines.append(
            f"Prompt templates `{config['templates']}`; a call of the actor may have {config['actor']['max_tokens']} "
            f"tokens and one of the refiner {config['refiner']['max_tokens']}. Tokens are as the servers count them. "
            "Where a server does not keep to a call's seed, equal calls are still one sample: the first."
        )
    if config.get("timed_prompts"):
        engines = (
            "asked by the same URLs, whose servers may have the prompts in a cache of their own, from a client"
            if by_url
            else "two engines as the server has them,"
        )
        lines.append(
            f"Seconds: the first {config['timed_prompts']} prompts under seed 0, one search at a time, nothing from "
            f"the store, {engines} on {config['machine']} with a mean load of "
            f"{config['load']}. A line's accuracy is that of all prompts."
        )
    command = f"    {config['command']}"
    return Section("How it was measured", "\n".join(f"- {line}" for line in lines) + f"\n\n{command}")


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
