"""The report's sections: progress by iteration, refined against sampled pairs, and ablations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Section, Table
from spar_training.reports.plots import Bars, Line, bar_plot, line_plot
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.estimates import METRICS, ArmComparison, Point, RefinerEstimate
from spar_training.studies.self_play.prose import cap_suffix, contrast_sentence, format_gain, join_numbers, row_label
from spar_training.studies.self_play.results import Outcomes, PairStatistics
from spar_training.studies.self_play.study import Arm

# What the arms of each method are called in figures; those of other methods have their own labels.
_PAIRS: Final = {"spar": "refined pairs", "sampled": "sampled pairs"}


def progress_section(outcomes: Outcomes, findings: Findings) -> Section:
    """Build the figures and tables by iteration; parts that were not measured are left out."""
    reference = outcomes.study.reference
    points = sorted(
        (one for one in findings.points if one.arm == reference.name), key=lambda one: (one.searched, one.iteration)
    )
    refiners = [one for one in findings.refiners if one.arm == reference.name]
    budget = reference.recipe.evaluation.budget
    text = (
        "The actor answers each prompt once, at the paper's temperature of 0.9; the search starts from the same "
        f"answer with a budget of {budget}. The judges and refiners of all iterations see the same answers, those of "
        "the start's actor. Verifiers decide what is right; the verdict of a refiner's own judge on its refinements is "
        "shown for comparison only. `of all bad drafts` is by the verifiers, and counts drafts that the judge accepted "
        "as not fixed."
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
            row_label(one.iteration, searched=one.searched),
            *(one.accuracy[metric].percent() for metric in METRICS),
            f"{one.words:.1f}",
            join_numbers(one.seeds),
        ]
        for one in points
    ]
    return Table(["pair", *METRICS, "words", "seeds"], rows, "Percent met, with 95% intervals; mean words per answer")


def _gains(points: Sequence[Point]) -> Table:
    rows = [
        [row_label(one.iteration, searched=one.searched), *(one.gains[metric].signed() for metric in METRICS)]
        for one in points
        if one.iteration or one.searched
    ]
    return Table(["pair", *METRICS], rows, "Points above the start's actor alone, paired, with 95% intervals")


def _judges(refiners: Sequence[RefinerEstimate]) -> Table:
    rows = [
        [
            row_label(one.iteration),
            one.accuracy.percent(),
            one.accuracy_gain.signed() if one.iteration else "–",
            one.f1.percent(),
            one.f1_gain.signed() if one.iteration else "–",
        ]
        for one in refiners
    ]
    header = ["judge", "accuracy", "change", "F1 on bad drafts", "change"]
    return Table(header, rows, "Judging the start's drafts; percent and points with 95% intervals")


def _refiners(refiners: Sequence[RefinerEstimate]) -> Table:
    rows = [
        [
            row_label(one.iteration),
            one.success.percent(),
            one.success_by_own_judge.percent(),
            one.fixed.percent(),
            one.fixed_gain.signed() if one.iteration else "–",
        ]
        for one in refiners
    ]
    header = ["refiner", "right, by verifiers", "right, by its own judge", "of all bad drafts", "change"]
    return Table(header, rows, "One refinement of each bad draft judged No; percent and points with 95% intervals")


def _by_seed(points: Sequence[Point]) -> Table:
    seeds = sorted({seed for one in points for seed in one.seeds})
    rows = [
        [
            row_label(one.iteration, searched=one.searched),
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
    svg = line_plot(lines, x_label="iteration", y_label="prompts met strictly, %", log2=False, integer_ticks=True)
    return Figure(
        svg,
        "Prompts with all constraints met according to the verifiers, strictly; the bands are 95% intervals.",
        "Strict accuracy by iteration, of the actor alone and with the search",
    )


def _refiners_figure(refiners: Sequence[RefinerEstimate]) -> Figure:
    kinds: list[tuple[str, Callable[[RefinerEstimate], Interval]]] = [
        ("judge right", lambda one: one.accuracy),
        ("refined right, by verifiers", lambda one: one.success),
        ("by its own judge", lambda one: one.success_by_own_judge),
    ]
    xs = [one.iteration for one in refiners]
    lines = [Line(label, xs, [of(one) for one in refiners]) for label, of in kinds]
    svg = line_plot(lines, x_label="iteration", y_label="share, %", log2=False, integer_ticks=True)
    return Figure(
        svg,
        "The refiner on the start's drafts: its judgements, and its refinements of the bad drafts that it rejected.",
        "Judge accuracy and refinement success by iteration",
    )


def contrast_sections(outcomes: Outcomes, findings: Findings) -> list[Section]:
    """Build a section for each arm that an arm with sampled pairs is compared with."""
    bases = {one.base for one in findings.contrasts}
    return [_section(outcomes, findings, arm) for arm in outcomes.study.arms if arm.name in bases]


def _section(outcomes: Outcomes, findings: Findings, base: Arm) -> Section:
    contrasts = [one for one in findings.contrasts if one.base == base.name]
    arms = {base.name, *(one.arm for one in contrasts)}
    compared = [arm for arm in outcomes.study.arms if arm.name in arms]
    text = (
        f"{contrast_sentence(contrasts)} A refined pair consists of a response judged No and its "
        "accepted refinement, a sampled pair of a response judged Yes and one judged No to the same prompt. "
        "Similarity is the share of words that the two sides of a pair have in common, in the same order."
        f"{_budget(compared)}"
    )
    return Section(
        f"Refined against sampled pairs{cap_suffix(base)}",
        text,
        [
            _contrast_accuracies(findings, contrasts),
            pairs_table(outcomes, findings.pairs, [arm.name for arm in compared]),
        ],
        [_figure(findings, compared)],
    )


def _budget(compared: Sequence[Arm]) -> str:
    if any(arm.equal_pairs_to for arm in compared):
        return " Each iteration trains on at most as many sampled pairs as there were refined ones."
    return ""


def _figure(findings: Findings, compared: Sequence[Arm]) -> Figure:
    lines = [
        Line(
            _PAIRS.get(arm.recipe.method.kind, arm.label),
            [one.iteration for one in found],
            [one.accuracy["prompt strict"] for one in found],
        )
        for arm in compared
        if (found := [one for one in findings.points if one.arm == arm.name and not one.searched])
    ]
    svg = line_plot(lines, x_label="iteration", y_label="prompts met strictly, %", log2=False, integer_ticks=True)
    return Figure(
        svg,
        "The actor alone, trained on refined or on sampled pairs; the bands are 95% intervals.",
        "Strict accuracy by iteration with refined and with sampled pairs",
    )


def _contrast_accuracies(findings: Findings, contrasts: Sequence[ArmComparison]) -> Table:
    rows = []
    for one in contrasts:
        ours, other = findings.point(one.base, one.iteration), findings.point(one.arm, one.iteration)
        assert ours is not None
        assert other is not None
        rows.append(
            [
                str(one.iteration),
                ours.accuracy["prompt strict"].percent(),
                other.accuracy["prompt strict"].percent(),
                one.prompt.signed(),
                one.instruction.signed(),
                f"{ours.words:.1f} / {other.words:.1f}",
                "; ".join(f"{seed}: {_both(ours, other, seed)}" for seed in one.seeds),
            ]
        )
    header = ["iteration", "refined", "sampled", "sampled − refined", "by instruction", "words", "by seed"]
    return Table(
        header,
        rows,
        "Strict accuracy, percent, and paired differences, with 95% intervals; words and accuracy by seed are "
        "refined / sampled",
    )


def _both(ours: Point, other: Point, seed: int) -> str:
    return f"{100 * ours.by_seed[seed]:.1f} / {100 * other.by_seed[seed]:.1f}"


def pairs_table(outcomes: Outcomes, pairs: Sequence[PairStatistics], arms: Sequence[str]) -> Table:
    """Build the table of the verifiers' findings on the training pairs."""
    labels = {arm.name: arm.label for arm in outcomes.study.arms}
    rows = [
        [
            labels[one.arm],
            str(one.iteration),
            " + ".join(str(count) for count in one.counts.values()),
            f"{one.similarity.mean:.2f} [{one.similarity.low:.2f}, {one.similarity.high:.2f}]",
            one.chosen_right.percent(),
            one.rejected_wrong.percent(),
            f"{one.chosen_words:.1f} / {one.rejected_words:.1f}",
        ]
        for one in pairs
        if one.arm in arms
    ]
    header = ["arm", "iteration", "pairs, by seed", "similarity", "chosen right", "rejected wrong", "words"]
    caption = (
        "The training pairs according to verifiers, which did not select them: percent; words of the chosen / "
        "rejected side"
    )
    return Table(header, rows, caption)


def ablation_section(outcomes: Outcomes, findings: Findings) -> Section | None:
    """Build the section of ablations; None if no arm has been measured to its end as well as the reference."""
    if not findings.ablations:
        return None
    study = outcomes.study
    sentences = [f"- {study.arm(one.arm).label}: {format_gain(one.prompt)} by prompt" for one in findings.ablations]
    text = (
        f"Each arm is {study.reference.label} without one of its parts. Differences are between the arm after its last "
        f"iteration and {study.reference.label} after iteration {study.reference.recipe.iterations}; below zero, the "
        "part contributes.\n\n" + "\n".join(sentences) + "\n\n"
        "Accuracies are strict; `judge` is the judge's accuracy, `fixed` the share of bad drafts that one refinement "
        "fixes. The paper's figures are for LLaMA3-8B on IFEval, by prompt / by instruction."
    )
    arms = [one.arm for one in findings.ablations]
    tables = [_table(outcomes, findings), pairs_table(outcomes, findings.pairs, [study.reference.name, *arms])]
    return Section("What each part is worth", text, tables, [_ablation_figure(outcomes, findings)])


def _table(outcomes: Outcomes, findings: Findings) -> Table:
    header = ["arm", "by prompt", "by instruction", "judge", "fixed", "in the paper", "seeds"]
    rows = [
        [
            outcomes.study.arm(one.arm).label,
            one.prompt.signed(),
            one.instruction.signed(),
            one.judge.signed(),
            one.fixed.signed(),
            outcomes.study.arm(one.arm).paper or "–",
            join_numbers(one.seeds),
        ]
        for one in findings.ablations
    ]
    caption = "Points compared with the whole method, paired, with 95% intervals"
    return Table(header, rows, caption)


def _ablation_figure(outcomes: Outcomes, findings: Findings) -> Figure:
    groups = [outcomes.study.arm(one.arm).label for one in findings.ablations]
    series: list[tuple[str, list[Interval]]] = [
        ("actor, by prompt", [one.prompt for one in findings.ablations]),
        ("actor, by instruction", [one.instruction for one in findings.ablations]),
        ("judge", [one.judge for one in findings.ablations]),
    ]
    svg = bar_plot(groups, [Bars(label, values) for label, values in series], y_label="difference, points")
    return Figure(
        svg,
        "What is lost (below zero) or gained without each part; the whiskers are 95% intervals.",
        "Differences from the whole method, one group per part",
    )
