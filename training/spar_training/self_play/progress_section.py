"""What each iteration of the reference brings, alone and with the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spar_training.evals.intervals import Interval
from spar_training.reports.page import Figure, Section, Table
from spar_training.reports.plots import Line, line_plot
from spar_training.self_play.findings import Findings
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.point import Point
from spar_training.self_play.pooled import METRICS
from spar_training.self_play.refining import Refining
from spar_training.self_play.wording import listed, place


def progress_section(outcomes: Outcomes, findings: Findings) -> Section:
    """Figures and tables along the iterations; a part that was not measured is left out."""
    reference = outcomes.study.reference
    points = sorted(
        (one for one in findings.points if one.arm == reference.name), key=lambda one: (one.searched, one.iteration)
    )
    refiners = [one for one in findings.refining if one.arm == reference.name]
    budget = reference.recipe.evaluation.budget
    text = (
        "The actor answers each prompt once, at the paper's temperature of 0.9; the search starts from that very "
        f"answer with a budget of {budget}. Judges and refiners of all iterations see the same answers, those of the "
        "start's actor. Verifiers decide what is right; what a refiner's own judge thinks of its refinements stands "
        "beside, and counts for nothing. `of all bad drafts` counts by the verifiers, with the drafts that the judge "
        "let pass as not mended."
    )
    return Section(
        "Iteration by iteration",
        text,
        [_accuracies(points), _gains(points), _judges(refiners), _refiners(refiners), _by_seed(points)],
        [_actors_figure(points), _refiners_figure(refiners)],
    )


def _accuracies(points: Sequence[Point]) -> Table:
    rows = [
        [
            place(one.iteration, searched=one.searched),
            *(one.accuracy[metric].percent() for metric in METRICS),
            f"{one.words:.1f}",
            listed(one.seeds),
        ]
        for one in points
    ]
    return Table(["pair", *METRICS, "words", "seeds"], rows, "Percent met, with 95% intervals; mean words of an answer")


def _gains(points: Sequence[Point]) -> Table:
    rows = [
        [place(one.iteration, searched=one.searched), *(one.gains[metric].signed() for metric in METRICS)]
        for one in points
        if one.iteration or one.searched
    ]
    return Table(["pair", *METRICS], rows, "Points above the start's actor alone, paired, with 95% intervals")


def _judges(refiners: Sequence[Refining]) -> Table:
    rows = [
        [
            place(one.iteration),
            one.accuracy.percent(),
            one.accuracy_gain.signed() if one.iteration else "–",
            one.f1.percent(),
            one.f1_gain.signed() if one.iteration else "–",
        ]
        for one in refiners
    ]
    header = ["judge", "accuracy", "change", "F1 on bad ones", "change"]
    return Table(header, rows, "Judging the start's drafts; percent and points with 95% intervals")


def _refiners(refiners: Sequence[Refining]) -> Table:
    rows = [
        [
            place(one.iteration),
            one.success.percent(),
            one.success_by_own_judge.percent(),
            one.mended.percent(),
            one.mended_gain.signed() if one.iteration else "–",
        ]
        for one in refiners
    ]
    header = ["refiner", "right, by verifiers", "right, by its own judge", "of all bad drafts", "change"]
    return Table(header, rows, "One refinement of each bad draft judged No; percent and points with 95% intervals")


def _by_seed(points: Sequence[Point]) -> Table:
    seeds = sorted({seed for one in points for seed in one.seeds})
    rows = [
        [
            place(one.iteration, searched=one.searched),
            *(f"{100 * one.by_seed[seed]:.1f}" if seed in one.by_seed else "–" for seed in seeds),
        ]
        for one in points
    ]
    return Table(["pair", *(f"seed {seed}" for seed in seeds)], rows, "Prompts met strictly, percent, by seed")


def _actors_figure(points: Sequence[Point]) -> Figure:
    lines = [
        Line(label, [one.iteration for one in found], [one.accuracy["prompt strict"] for one in found])
        for label, searched in (("actor alone", False), ("with the search", True))
        if (found := [one for one in points if one.searched is searched])
    ]
    svg = line_plot(lines, x_label="iteration", y_label="prompts met strictly, %", log2=False, counted=True)
    return Figure(
        svg,
        "Prompts of which the verifiers find every constraint met, strictly; the bands are 95% intervals.",
        "Strict accuracy by iteration, of the actor alone and with the search",
    )


def _refiners_figure(refiners: Sequence[Refining]) -> Figure:
    kinds: list[tuple[str, Callable[[Refining], Interval]]] = [
        ("judge right", lambda one: one.accuracy),
        ("refined right, by verifiers", lambda one: one.success),
        ("by its own judge", lambda one: one.success_by_own_judge),
    ]
    xs = [one.iteration for one in refiners]
    lines = [Line(label, xs, [of(one) for one in refiners]) for label, of in kinds]
    svg = line_plot(lines, x_label="iteration", y_label="share, %", log2=False, counted=True)
    return Figure(
        svg,
        "The refiner on the start's drafts: its judgements, and what became of the bad drafts that it turned down.",
        "Judge accuracy and refinement success by iteration",
    )
