"""What each iteration of the reference brings, alone and with the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Section, Table
from spar_training.reports.plots import Bars, Line, bar_plot, line_plot
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.estimates import METRICS, Against, Point, Refining
from spar_training.studies.self_play.prose import contrast, listed, most, place, told
from spar_training.studies.self_play.results import Outcomes, PairsMade
from spar_training.studies.self_play.study import Arm


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
    svg = line_plot(lines, x_label="iteration", y_label="prompts met strictly, %", log2=False, integer_ticks=True)
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
    svg = line_plot(lines, x_label="iteration", y_label="share, %", log2=False, integer_ticks=True)
    return Figure(
        svg,
        "The refiner on the start's drafts: its judgements, and what became of the bad drafts that it turned down.",
        "Judge accuracy and refinement success by iteration",
    )


def contrast_sections(outcomes: Outcomes, findings: Findings) -> list[Section]:
    """One for each arm that sampled ones have been measured beside."""
    bases = {one.base for one in findings.contrasts}
    return [_section(outcomes, findings, arm) for arm in outcomes.study.arms if arm.name in bases]


def _section(outcomes: Outcomes, findings: Findings, base: Arm) -> Section:
    contrasts = [one for one in findings.contrasts if one.base == base.name]
    arms = {base.name, *(one.arm for one in contrasts)}
    compared = [arm for arm in outcomes.study.arms if arm.name in arms]
    text = (
        f"{contrast(contrasts)} A refined pair is a response judged No and its own "
        "accepted refinement; a sampled one is a response judged Yes and one judged No to the same prompt. "
        "Similarity, within a pair, is the share of words in common and in order."
        f"{_budget(compared)}"
    )
    return Section(
        f"Refined against sampled pairs{most(base)}",
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
            "sampled pairs" if arm.recipe.method.kind == "sampled" else "refined pairs",
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


def _contrast_accuracies(findings: Findings, contrasts: Sequence[Against]) -> Table:
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
        "Strict accuracy, percent, and paired differences, with 95% intervals; refined / sampled: words, and by seed",
    )


def _both(ours: Point, other: Point, seed: int) -> str:
    return f"{100 * ours.by_seed[seed]:.1f} / {100 * other.by_seed[seed]:.1f}"


def pairs_table(outcomes: Outcomes, pairs: Sequence[PairsMade], arms: Sequence[str]) -> Table:
    """What the verifiers find in the training pairs."""
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
        "The training pairs, by verifiers that chose none of them: percent; words of the chosen / the rejected side"
    )
    return Table(header, rows, caption)


def ablation_section(outcomes: Outcomes, findings: Findings) -> Section | None:
    """None where no arm has been measured to its end beside the reference."""
    if not findings.ablations:
        return None
    study = outcomes.study
    sentences = [f"- {study.arm(one.arm).label}: {told(one.prompt)} by prompt" for one in findings.ablations]
    text = (
        f"Each arm is {study.reference.label} without one of its parts, after its last iteration, less "
        f"{study.reference.label} after iteration {study.reference.recipe.iterations}; below zero, the part is worth "
        "something.\n\n" + "\n".join(sentences) + "\n\n"
        "Accuracies are strict; `judge` is the judge's accuracy, `mended` the bad drafts that one refinement mends. In "
        "the paper: LLaMA3-8B on IFEval, by prompt / by instruction."
    )
    arms = [one.arm for one in findings.ablations]
    tables = [_table(outcomes, findings), pairs_table(outcomes, findings.pairs, [study.reference.name, *arms])]
    return Section("What each part is worth", text, tables, [_ablation_figure(outcomes, findings)])


def _table(outcomes: Outcomes, findings: Findings) -> Table:
    header = ["arm", "by prompt", "by instruction", "judge", "mended", "in the paper", "seeds"]
    rows = [
        [
            outcomes.study.arm(one.arm).label,
            one.prompt.signed(),
            one.instruction.signed(),
            one.judge.signed(),
            one.mended.signed(),
            outcomes.study.arm(one.arm).paper or "–",
            listed(one.seeds),
        ]
        for one in findings.ablations
    ]
    caption = "Points against the whole method, paired, with 95% intervals"
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
        "Differences to the whole method, one group a part",
    )
