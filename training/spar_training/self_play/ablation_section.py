"""What each part of self-play is worth: arms without it, against the reference."""

from __future__ import annotations

from spar_training.evals.intervals import Interval
from spar_training.reports.page import Figure, Section, Table
from spar_training.reports.plots import Bars, bar_plot
from spar_training.self_play.contrast_section import pairs_table
from spar_training.self_play.findings import Findings
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.wording import listed, told


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
    return Section("What each part is worth", text, tables, [_figure(outcomes, findings)])


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


def _figure(outcomes: Outcomes, findings: Findings) -> Figure:
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
