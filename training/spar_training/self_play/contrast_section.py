"""Refined pairs against sampled ones, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.page import Figure, Section, Table
from spar_training.reports.plots import Line, line_plot
from spar_training.self_play.against import Against
from spar_training.self_play.findings import Findings
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.point import Point
from spar_training.self_play.preference import PairsMade
from spar_training.self_play.study import Arm
from spar_training.self_play.wording import contrast, most


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
        [_accuracies(findings, contrasts), pairs_table(outcomes, findings.pairs, [arm.name for arm in compared])],
        [_figure(findings, compared)],
    )


def _budget(compared: Sequence[Arm]) -> str:
    if any(arm.equal_pairs_to for arm in compared):
        return " Each iteration trains on at most as many sampled pairs as there were refined ones."
    return ""


def _figure(findings: Findings, compared: Sequence[Arm]) -> Figure:
    lines = [
        Line(
            f"{arm.recipe.actor_data.pairs} pairs",
            [one.iteration for one in found],
            [one.accuracy["prompt strict"] for one in found],
        )
        for arm in compared
        if (found := [one for one in findings.points if one.arm == arm.name and not one.searched])
    ]
    svg = line_plot(lines, x_label="iteration", y_label="prompts met strictly, %", log2=False, counted=True)
    return Figure(
        svg,
        "The actor alone, trained on refined or on sampled pairs; the bands are 95% intervals.",
        "Strict accuracy by iteration with refined and with sampled pairs",
    )


def _accuracies(findings: Findings, contrasts: Sequence[Against]) -> Table:
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
