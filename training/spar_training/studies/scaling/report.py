"""The bench's report and result as plain values: plots, tables and text."""

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
# Consensus methods, whose accuracy is that of one sample at every budget: in the table only.
_NOT_PLOTTED: Final = ("self_consistency", "similarity")
_AXES: Final[tuple[Axis, ...]] = ("tokens", "calls", "budget")
_STRICT: Final = "all constraints met, strict, %"
_TRUNCATION_NOTE: Final = (
    " The line of best-of-N that draws and judges all N ends at the first N that costs more than every other method; "
    "the table has the rest."
)


def to_report(findings: Findings, config: Mapping[str, Any]) -> Report:
    """Build the report; parts that were not run are left out."""
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
    """List the methods' arms in the order of their points."""
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
        points = [(value, one) for one in findings.line(arm) if (value := x(one)) is not None and y(one).n]
        if points:
            # The bands of all lines would overlap, so only those to compare have one; the table has all intervals.
            ys = [y(one) if arm in _BANDED else _without_band(y(one)) for _, one in points]
            lines.append(Line(method_name(arm) + suffix, [value for value, _ in points], ys))
    return lines


def _truncated(
    findings: Findings, arms: Sequence[str], x: Callable[[Point], float | None]
) -> Callable[[Point], float | None]:
    """Return `x`, but None for points of best-of-N that judges all after the first that exceeds all other methods.

    At its largest budget it costs tens of times as much as any other method, whose lines would shrink to a stroke.
    """
    others = [one for arm in arms if arm != BEST_OF_ALL for one in findings.line(arm)]
    largest = max((value for one in others if (value := x(one)) is not None), default=0.0)
    beyond = [one.budget for one in findings.line(BEST_OF_ALL) if (x(one) or 0.0) > largest]
    last = min(beyond, default=None)
    return lambda one: None if one.arm == BEST_OF_ALL and last is not None and one.budget > last else x(one)


def _without_band(value: Interval) -> Interval:
    return Interval(value.mean, value.mean, value.mean, value.n)


def _scaling(findings: Findings) -> Section:
    axes: list[tuple[str, str, Callable[[Point], float | None]]] = [
        ("model calls an answer, mean", "calls", lambda one: one.calls),
        ("generated tokens an answer, mean", "tokens", lambda one: one.tokens),
        ("seconds an answer, mean", "seconds", lambda one: findings.seconds.get(one.arm, {}).get(one.budget)),
    ]
    plotted = [arm for arm in _methods(findings) if arm not in _NOT_PLOTTED]
    figures = [
        Figure(
            line_plot(lines, x_label=label, y_label=_STRICT, log2=False),
            f"Accuracy by {label}; the bands are the 95% intervals of breadth first and of best-of-N of each kind."
            + (_TRUNCATION_NOTE if BEST_OF_ALL in plotted else ""),
            f"One line per method: accuracy by the verifiers against {name}",
        )
        for label, name, x in axes
        if (lines := _lines(findings, plotted, _truncated(findings, plotted, x)))
    ]
    text = (
        "Every method starts from the same draft of each prompt and seed. A budget is the maximum number of nodes to "
        "expand; a search ends when its judge accepts an answer, so the axes show what was spent, not what was "
        "allowed. Best-of-N that draws and judges all N never ends early. The judge's verdict never counts as "
        "quality.\n\n" + prose.self_consistency(findings)
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
    return Table(header, rows, "Percent with 95% intervals; means per answer")


def _best_of_n(findings: Findings) -> Section | None:
    if not findings.comparisons:
        return None
    wins = prose.where_best_of_n_wins(findings.comparisons, axes=_AXES)
    text = (
        f"{prose.KINDS_EXPLANATION}\n\n{wins}\n\nAt equal tokens (or "
        "calls), N is the smallest with which best-of-N spends at least as much on average, so it never gets less, and "
        "up to one sample and its votes more; N includes the draft. Differences are the method's strict accuracy minus "
        "that of best-of-N, paired by prompt. Each interval stands alone, and about one in twenty misses by chance."
    )
    tables = [
        _comparison_table(rows, f"At equal {axis}, against {KINDS[kind]}")
        for kind in REFERENCES
        for axis in _AXES
        if (rows := [c for c in findings.comparisons if (c.reference, c.axis) == (kind, axis)])
    ]
    return Section("Where best-of-N wins", text, tables)


def _comparison_table(comparisons: Sequence[Comparison], caption: str) -> Table:
    verdicts = {"method": "method ahead", "reference": "best-of-N ahead", "open": "open"}
    header = ["method", "budget", "N", "spent", "best-of-N spent", "difference", "verdict"]
    rows = [
        [
            method_name(c.method),
            str(c.budget),
            str(c.n),
            f"{c.cost:.1f}",
            f"{c.reference_cost:.1f}{'' if c.equal else ' (its largest)'}",
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
        "The share of answers that the verifiers accept, and the share that the judge accepts.",
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
        "One line per combination of real and perfect halves",
    )
    text = (
        "The same searches with a judge that verifies and writes the ground-truth critique, and with a refiner that "
        "makes the smallest edit with which all checks pass. The gain of a perfect half is the most that training this "
        "half could still bring."
    )
    return Section("Scaling with a perfect half", text, [_points(findings, oracles)], [figure])


def _votes(findings: Findings) -> Section | None:
    if not findings.savings:
        return None
    text = (
        "Early stop requests the fewest votes that can decide, and the others only if these leave the verdict open.\n\n"
    )
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
        f"One setting is changed at a time; the default is breadth first at budget {ABLATION_BUDGET} with branch 3, "
        "beam 2, depth 3, 5 votes with early stop, threshold 0.5, and whole levels awaited. `stop=first` cancels the "
        "siblings of an accepted node: the tokens that they had generated count as spent, and which sibling comes "
        "first depends on timing. `checks=on` gives the search the prompt's own verifiers, as a request's "
        "`refine.checks` does."
    )
    return Section("Ablations of the search", text, [Table(header, rows, "Percent with 95% intervals, paired")])


def _method(config: Mapping[str, Any]) -> Section:
    lines = [
        f"{config['prompts']} {config['split']} prompts of the synthetic world, seeds 0 to {config['seeds'] - 1}; "
        f"pair: {config['pair']}.",
        "Quality: all checks of the prompt pass (`spar_core/checks`), as in IFEval's prompt-level accuracy. Intervals: "
        "a figure's seeds are averaged within each prompt, then the prompts are resampled (95%, percentile bootstrap); "
        "Wilson's where all seeds agree on every prompt.",
        "Drafts and best-of-N's samples: temperature 0.9, top_p 0.9. Judgements and refinements: temperature 0.7. A "
        "response's votes depend only on its text and the seed: methods that produce the same text get the same votes. "
        "Siblings are awaited, so the tree of a small budget is the beginning of a larger one's, and one search covers "
        "all budgets. Breadth first ends at 15 nodes and depth first at 21, whatever the budget.",
        "Completions are cached, so equal calls are made once; each search is charged for all its calls as if it had "
        "made them.",
    ]
    by_url = "actor" in config
    if by_url:
        lines.append(
            f"Prompt templates `{config['templates']}`; a call of the actor may generate "
            f"{config['actor']['max_tokens']} tokens and one of the refiner {config['refiner']['max_tokens']}. Tokens "
            "are counted by the servers. Equal calls give one sample, the first, even if a server ignores the seed."
        )
    if config.get("timed_prompts"):
        engines = (
            "through the same URLs, whose servers may cache the prompts, from a client"
            if by_url
            else "with two engines as in the server,"
        )
        lines.append(
            f"Seconds: the first {config['timed_prompts']} prompts with seed 0, one search at a time, without cached "
            f"completions, {engines} on {config['machine']} with a mean load of {config['load']}. Accuracies are over "
            "all prompts."
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
    """Build the result. An item is an arm, with its outcomes as a string of digits per budget.

    A digit is 1 if all constraints are met. The n-th digit and the n-th number belong to the n-th of `cells`: a
    prompt's index in its split, and a seed.
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
        "tokens": {str(b): " ".join(str(trial.cost(b).tokens) for trial in trials) for b in at},
        "calls": {str(b): " ".join(str(trial.cost(b).calls) for trial in trials) for b in at},
    }


def _digits(values: Sequence[bool]) -> str:
    return "".join("1" if value else "0" for value in values)


def _figures(findings: Findings) -> dict[str, Interval | float]:
    figures: dict[str, Interval | float] = {}
    for one in findings.points:
        name = f"{one.arm}@{one.budget}"
        figures |= {f"{name}/strict": one.strict, f"{name}/loose": one.loose}
        # Answers that were not judged have no verdict.
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
