"""The report's sentences: what the findings say, computed, whoever comes out ahead."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval
from spar_training.studies.scaling.analysis import SAVING_BAR, Axis, Comparison, Findings, VoteSaving
from spar_training.studies.scaling.arms import ABLATION_BUDGET, DEFAULT_METHOD, REFERENCES

NAMES = {
    "greedy": "greedy",
    "bfs": "breadth first",
    "dfs": "depth first",
    "best_first": "best first",
    "iterative": "iterative",
    "best_of_n_all": "best-of-N",
    "best_of_n": "best-of-N, stops at the first accepted",
    "self_consistency": "self-consistency",
    "similarity": "most similar sample",
    "bfs+oracle_judge": "breadth first, perfect judge",
    "bfs+oracle_refiner": "breadth first, perfect refiner",
    "bfs+oracle_both": "breadth first, both perfect",
    "best_of_n+oracle_judge": "best-of-N, stops at the first accepted, perfect judge",
}


def method_name(arm: str) -> str:
    """The name of a method's arm in a report; that of an algorithm from another package is its own."""
    return NAMES.get(arm, arm.replace("_", " "))


# What each kind of best-of-N is, in a sentence.
KINDS = {
    "best_of_n_all": "best-of-N (all N drawn and judged)",
    "best_of_n": "best-of-N that stops at the first accepted",
}
KINDS_TOLD = (
    "Best-of-N as the field has it draws N samples, judges every one, and answers with the one of the highest share of "
    "Yes; the earliest of equals. The server's own `best_of_n` judges a few samples at a time and stops once one is "
    "accepted, as a search does. Both draw the same samples and hear the same votes, with the early vote stop of all "
    "methods: it leaves the share few values, so ties are common."
)


def percent(value: Interval) -> str:
    return value.percent()


def summary(findings: Findings) -> str:
    """The run in a paragraph."""
    sentences: list[str] = []
    sample, greedy = findings.at(DEFAULT_METHOD, 0), findings.at("greedy", 0)
    if sample:
        sentences.append(f"One sample meets all constraints of {percent(sample.strict)} percent of the prompts.")
    if greedy:
        sentences.append(f"Greedy decoding: {percent(greedy.strict)}.")
    budgets = {c.budget for c in findings.comparisons if c.method == DEFAULT_METHOD}
    budget = ABLATION_BUDGET if ABLATION_BUDGET in budgets else max(budgets, default=0)
    if searched := findings.at(DEFAULT_METHOD, budget):
        sentences.append(
            f"Breadth first with budget {budget}: {percent(searched.strict)}, "
            f"for {searched.tokens:.0f} tokens and {searched.calls:.1f} calls an answer."
        )
    sentences += [
        _against(one)
        for one in findings.comparisons
        if (one.method, one.budget, one.axis) == (DEFAULT_METHOD, budget, "tokens")
    ]
    sentences += _wins(findings.comparisons)
    return " ".join(sentences)


def _against(comparison: Comparison) -> str:
    given = "equal tokens" if comparison.equal else "the most tokens that it ever spends"
    least = "the smallest that spends as much" if comparison.equal else "its largest"
    return (
        f"Against {KINDS[comparison.reference]} at {given} (N = {comparison.n}, {least}: "
        f"{comparison.reference_spent:.0f} tokens): {comparison.difference.signed()} points, "
        f"{_STANDS[comparison.verdict]}."
    )


_STANDS = {"method": "ahead", "reference": "best-of-N is ahead", "open": "no difference shown"}


def _wins(comparisons: Sequence[Comparison]) -> list[str]:
    """One sentence for each kind of best-of-N: where it is ahead, at equal anything."""
    told: list[str] = []
    for kind in dict.fromkeys(c.reference for c in comparisons):
        places = [
            f"at equal {axis} against {wins}"
            for axis in dict.fromkeys(c.axis for c in comparisons)
            if (wins := _listed([c for c in comparisons if (c.axis, c.reference) == (axis, kind)], "reference"))
        ]
        told.append(f"{KINDS[kind][0].upper()}{KINDS[kind][1:]} wins {'; '.join(places) or 'nowhere'}.")
    return told


def where_best_of_n_wins(comparisons: Sequence[Comparison], *, axes: Sequence[Axis]) -> str:
    """One sentence for each axis and kind of best-of-N: where it wins, and where it loses."""
    sentences: list[str] = []
    for axis in axes:
        for kind in dict.fromkeys(c.reference for c in comparisons):
            ours = [c for c in comparisons if (c.axis, c.reference) == (axis, kind)]
            if not ours:
                continue
            wins, losses = _listed(ours, "reference"), _listed(ours, "method")
            sentences.append(
                f"At equal {axis}, {KINDS[kind]} wins {f'against {wins}' if wins else 'nowhere'} "
                f"and loses {f'against {losses}' if losses else 'nowhere'}; "
                f"{sum(c.verdict == 'open' for c in ours)} of {len(ours)} comparisons show no difference."
            )
    return " ".join(sentences)


def _listed(comparisons: Sequence[Comparison], verdict: str) -> str:
    """`breadth first at budget 1, 2`, method by method."""
    methods = dict.fromkeys(c.method for c in comparisons)
    parts: list[str] = []
    for method in methods:
        at = [str(c.budget) for c in comparisons if c.method == method and c.verdict == verdict]
        if at:
            parts.append(f"{method_name(method)} at budget {', '.join(at)}")
    return "; ".join(parts)


def saving(one: VoteSaving) -> str:
    equal = "no difference in accuracy shown" if one.equal_accuracy else "accuracy differs"
    return (
        f"{one.votes} votes: {100 * one.tokens_saved:.1f}% of the judge's tokens and {100 * one.calls_saved:.1f}% of "
        f"its calls saved, accuracy {one.difference.signed()} points ({equal}); the bar of {100 * SAVING_BAR:.0f}% is "
        f"{'met' if one.met else 'missed'}."
    )


def self_consistency(findings: Findings) -> str:
    if findings.repeated is None:
        return ""
    return (
        "Self-consistency takes the majority of final answers, and free texts have a majority only where samples "
        f"repeat: any text occurs twice among the samples of {percent(findings.repeated)} percent of the prompts. "
        "Elsewhere the most common text is simply the first, so its line is that of one sample, at more cost. The most "
        "similar sample (highest overlap of words with the others) is the consensus that free text admits; it asks no "
        "judge, so it cannot know which constraint was missed. Both draw all their samples, up to budget 8, are not "
        "timed, and stand in the table only."
    )


def deception(findings: Findings) -> str:
    """How good the judge is, and by how much it thinks better of the answers than they are."""
    good, bad = findings.judge
    shares = [
        f"{KINDS.get(method, method_name(method))} {_points(line[-1].self_deception)} points "
        f"at budget {line[-1].budget}"
        for method in (DEFAULT_METHOD, *REFERENCES)
        if (line := findings.line(method))
    ]
    return (
        "The judge's opinion is of the very same answers as the verifiers'. A search picks what its judge likes, so "
        "the more it may choose from, the more of the judge's own errors are among what is chosen. The judge is right "
        f"about {percent(good)} percent of the good drafts and {percent(bad)} percent of the bad ones. Its accepted "
        f"share less the verified one: {'; '.join(shares)}."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
