"""The report's sentences, computed from the findings, whichever side is ahead."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval
from spar_training.studies.scaling.analysis import SAVING_TARGET, Axis, Comparison, Findings, VoteSaving
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
    """Return the name of a method's arm in a report; an algorithm from another package has its own name."""
    return NAMES.get(arm, arm.replace("_", " "))


# Names of the kinds of best-of-N within a sentence.
KINDS = {
    "best_of_n_all": "best-of-N (all N drawn and judged)",
    "best_of_n": "best-of-N that stops at the first accepted",
}
KINDS_EXPLANATION = (
    "Standard best-of-N draws N samples, judges every one, and answers with the one that has the highest share of Yes "
    "votes, or the first of several. The server's own `best_of_n` judges a few samples at a time and stops once one is "
    "accepted, as a search does. Both draw the same samples and get the same votes. As in all methods, votes stop "
    "early, which leaves the share few possible values, so ties are common."
)


def percent(value: Interval) -> str:
    return value.percent()


def summary(findings: Findings) -> str:
    """Summarize the findings in a paragraph."""
    sentences: list[str] = []
    sample, greedy = findings.at(DEFAULT_METHOD, 0), findings.at("greedy", 0)
    if sample:
        sentences.append(f"One sample meets all constraints in {percent(sample.strict)} percent of the prompts.")
    if greedy:
        sentences.append(f"Greedy decoding: {percent(greedy.strict)}.")
    budgets = {c.budget for c in findings.comparisons if c.method == DEFAULT_METHOD}
    budget = ABLATION_BUDGET if ABLATION_BUDGET in budgets else max(budgets, default=0)
    if searched := findings.at(DEFAULT_METHOD, budget):
        sentences.append(
            f"Breadth first with budget {budget}: {percent(searched.strict)}, "
            f"for {searched.tokens:.0f} tokens and {searched.calls:.1f} calls per answer."
        )
    sentences += [
        _comparison_sentence(one)
        for one in findings.comparisons
        if (one.method, one.budget, one.axis) == (DEFAULT_METHOD, budget, "tokens")
    ]
    sentences += _wins(findings.comparisons)
    return " ".join(sentences)


def _comparison_sentence(comparison: Comparison) -> str:
    tokens = "equal tokens" if comparison.equal else "its largest number of tokens"
    choice = "the smallest that spends as much" if comparison.equal else "its largest"
    return (
        f"Compared with {KINDS[comparison.reference]} at {tokens} (N = {comparison.n}, {choice}: "
        f"{comparison.reference_cost:.0f} tokens): {comparison.difference.signed()} points, "
        f"{_VERDICTS[comparison.verdict]}."
    )


_VERDICTS = {"method": "ahead", "reference": "best-of-N is ahead", "open": "no difference shown"}


def _wins(comparisons: Sequence[Comparison]) -> list[str]:
    """Say in one sentence for each kind of best-of-N where it is ahead, on any axis."""
    sentences: list[str] = []
    for kind in dict.fromkeys(c.reference for c in comparisons):
        wins_by_axis = [
            f"at equal {axis} against {wins}"
            for axis in dict.fromkeys(c.axis for c in comparisons)
            if (wins := _list_budgets([c for c in comparisons if (c.axis, c.reference) == (axis, kind)], "reference"))
        ]
        sentences.append(f"{KINDS[kind][0].upper()}{KINDS[kind][1:]} wins {'; '.join(wins_by_axis) or 'nowhere'}.")
    return sentences


def where_best_of_n_wins(comparisons: Sequence[Comparison], *, axes: Sequence[Axis]) -> str:
    """Say in one sentence for each axis and kind of best-of-N where it wins and where it loses."""
    sentences: list[str] = []
    for axis in axes:
        for kind in dict.fromkeys(c.reference for c in comparisons):
            ours = [c for c in comparisons if (c.axis, c.reference) == (axis, kind)]
            if not ours:
                continue
            wins, losses = _list_budgets(ours, "reference"), _list_budgets(ours, "method")
            sentences.append(
                f"At equal {axis}, {KINDS[kind]} wins {f'against {wins}' if wins else 'nowhere'} "
                f"and loses {f'against {losses}' if losses else 'nowhere'}; "
                f"{sum(c.verdict == 'open' for c in ours)} of {len(ours)} comparisons show no difference."
            )
    return " ".join(sentences)


def _list_budgets(comparisons: Sequence[Comparison], verdict: str) -> str:
    """List the comparisons with this verdict by method, as `breadth first at budget 1, 2`."""
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
        f"its calls saved, accuracy {one.difference.signed()} points ({equal}); the target of "
        f"{100 * SAVING_TARGET:.0f}% is {'met' if one.met else 'missed'}."
    )


def self_consistency(findings: Findings) -> str:
    if findings.repeated is None:
        return ""
    return (
        "Self-consistency takes the majority of final answers, and free-form texts have a majority only where samples "
        f"repeat: a text occurs twice among the samples of {percent(findings.repeated)} percent of the prompts. "
        "Elsewhere the most common text is simply the first, so the method equals one sample at a higher cost. The "
        "most similar sample (highest overlap of words with the others) is a consensus for free-form text; without a "
        "judge it cannot know which constraint was missed. Both draw all their samples, up to budget 8, are not timed, "
        "and are in the table only."
    )


def deception(findings: Findings) -> str:
    """Say how accurate the judge is, and by how much it overrates the answers."""
    good, bad = findings.judge
    shares = [
        f"{KINDS.get(method, method_name(method))} {_points(line[-1].self_deception)} points "
        f"at budget {line[-1].budget}"
        for method in (DEFAULT_METHOD, *REFERENCES)
        if (line := findings.line(method))
    ]
    return (
        "The judge and the verifiers assess the same answers. A search selects what its judge accepts, so the more "
        "candidates it has, the more of the judge's own errors it selects. The judge is right about "
        f"{percent(good)} percent of the good drafts and {percent(bad)} percent of the bad ones. The share that it "
        f"accepts minus the share that the verifiers accept: {'; '.join(shares)}."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
