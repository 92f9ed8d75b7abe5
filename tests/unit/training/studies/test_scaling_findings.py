"""The findings that the scaling bench computes from its trials, and its report on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.model_folder import shipped_pair
from spar_training.reports.page import to_html, to_markdown
from spar_training.reports.result import read_result, write_result
from spar_training.studies.scaling.analysis import (
    Reference,
    analyze,
    budgets_of,
    compare,
    difference,
    point,
    vote_savings,
)
from spar_training.studies.scaling.arms import main_arms
from spar_training.studies.scaling.baselines import most_common, most_similar
from spar_training.studies.scaling.command import Options, quick, run
from spar_training.studies.scaling.prose import where_best_of_n_wins
from spar_training.studies.scaling.report import to_report, to_result
from spar_training.studies.scaling.sources import weights_digest
from spar_training.studies.scaling.trial import Step, Trial

CONFIG = {"prompts": 60, "split": "held_out", "seeds": 2, "pair": "p", "command": "spar bench scaling"}


def step(*, right: bool, accepted: bool | None = None, tokens: int = 10, vote_tokens: int = 30) -> Step:
    is_accepted = right if accepted is None else accepted
    return Step("judged", 1.0 if is_accepted else 0.0, is_accepted, right, right, tokens, 3, vote_tokens)


def trial(index: int, seed: int, rights: list[bool], *, tokens: int = 10) -> Trial:
    """A trial with nodes until one is right, as with a judge without errors."""
    steps, best = [], []
    for number, right in enumerate(rights):
        steps.append(step(right=right, tokens=tokens))
        best.append(number if right else 0)
        if right:
            break
    return Trial(index, seed, tuple(steps), tuple(best))


def method(right_at: int, *, prompts: int = 60, tokens: int = 10) -> list[Trial]:
    """Trials where half of the prompts are right at once, the others at the node `right_at`."""
    return [
        trial(index, seed, [index % 2 == 0] + [n == right_at for n in range(1, 9)], tokens=tokens)
        for index in range(prompts)
        for seed in range(2)
    ]


def reference(trials: list[Trial], *, name: str = "best_of_n", largest: int = 8) -> Reference:
    return Reference(name, trials, largest)


def all_judged(right_at: int, *, prompts: int = 60, samples: int = 9) -> list[Trial]:
    """Like `method`, but every sample is drawn and judged, however good the previous ones."""
    trials = []
    for index in range(prompts):
        rights = [index % 2 == 0] + [n == right_at for n in range(1, samples)]
        best = [rights.index(True) if True in rights[: 1 + budget] else 0 for budget in range(samples)]
        steps = tuple(step(right=right) for right in rights)
        trials += [Trial(index, seed, steps, tuple(best)) for seed in range(2)]
    return trials


def test_a_smaller_budget_expands_and_costs_less() -> None:
    one = trial(0, 0, [False, False, True])
    assert [one.answer(budget).strict for budget in (0, 1, 2, 9)] == [False, False, True, True]
    # A draft alone is one call; from budget 1 on the draft is also judged.
    assert [one.cost(budget).calls for budget in (0, 1, 2, 9)] == [1, 8, 12, 12]
    assert [one.cost(budget).tokens for budget in (0, 1, 2, 9)] == [10, 80, 120, 120]
    assert [one.cost(budget).judge_tokens for budget in (0, 1, 2, 9)] == [0, 60, 90, 90]
    assert [one.cost(budget).nodes for budget in (0, 1, 2, 9)] == [0, 1, 2, 2]
    assert Trial.from_row(json.loads(json.dumps(one.row()))) == one


def test_a_point_counts_prompts_not_seeds() -> None:
    at = point("bfs", method(2), 0)
    assert (at.strict.n, at.strict.mean) == (60, 0.5)
    # Both seeds of a prompt agree: the interval is that of 60 draws, not of 120.
    assert at.strict.high - at.strict.low == pytest.approx(2 * 1.96 * (0.25 / 60) ** 0.5, rel=0.15)


def test_best_of_n_gets_at_least_as_much_and_at_most_one_sample_more() -> None:
    bfs = method(2, tokens=20)
    for name, trials in (("best_of_n", method(4)), ("best_of_n_all", all_judged(4))):
        for axis in ("tokens", "calls"):
            one = compare("bfs", bfs, 2, reference(trials, name=name), axis=axis)  # type: ignore[arg-type]
            assert one.equal
            assert one.reference == name
            assert one.reference_cost >= one.cost
            short = reference(trials, largest=one.reference_budget - 1)
            less = compare("bfs", bfs, 2, short, axis=axis)  # type: ignore[arg-type]
            assert not less.equal
            # N includes the draft.
            assert less.n == one.n - 1 == one.reference_budget
        assert compare("bfs", bfs, 2, reference(trials), axis="budget").reference_budget == 2


def test_judging_every_sample_buys_fewer_of_them() -> None:
    stops, judges_all = reference(method(4)), reference(all_judged(4))
    at = [compare("bfs", method(4), 8, kind, axis="tokens") for kind in (stops, judges_all)]
    assert at[0].n > at[1].n
    assert at[0].difference.mean == 0
    assert at[1].difference.mean == pytest.approx(0.5)


def test_differences_are_paired_and_signed() -> None:
    ahead = compare("bfs", method(1), 1, reference(method(8)), axis="tokens")
    assert ahead.verdict == "method"
    assert ahead.difference.mean == pytest.approx(0.5)
    behind = compare("bfs", method(8), 1, reference(method(1)), axis="tokens")
    assert (behind.verdict, behind.difference.mean) == ("reference", pytest.approx(-0.5))
    same = compare("bfs", method(2), 2, reference(method(2)), axis="tokens")
    assert (same.verdict, same.difference.mean) == ("open", 0)
    # Sixty prompts without a difference do not show that there is none.
    assert -0.1 < same.difference.low < 0 < same.difference.high < 0.1
    # Prompts that only one side has, since an item failed, are ignored.
    assert difference(method(1)[2:], 1, method(8), 1).n == 59


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("best_of_n", "best-of-N that stops at the first accepted"),
        ("best_of_n_all", r"best-of-N (all N drawn and judged)"),
    ],
)
def test_the_report_says_where_each_kind_of_best_of_n_wins(name: str, label: str) -> None:
    pairs = [(method(1), method(8)), (method(8), method(1)), (method(2), method(2))]
    sentences = [
        where_best_of_n_wins([compare("bfs", ours, 1, reference(theirs, name=name), axis="tokens")], axes=["tokens"])
        for ours, theirs in pairs
    ]
    assert f"At equal tokens, {label} wins nowhere and loses against breadth first at budget 1" in sentences[0]
    assert "wins against breadth first at budget 1 and loses nowhere" in sentences[1]
    assert "1 of 1 comparisons show no difference" in sentences[2]


def test_the_target_of_early_stop_needs_savings_at_equal_accuracy() -> None:
    full = [
        Trial(t.index, t.seed, tuple(step(right=s.strict, vote_tokens=50) for s in t.steps), t.best) for t in method(2)
    ]
    (saving,) = vote_savings({"bfs": method(2), "votes=5, all asked": full})
    assert saving.tokens_saved == pytest.approx(0.4)
    assert saving.met
    worse = [Trial(t.index, t.seed, t.steps[:1], t.best[:1]) for t in method(2)]
    (saving,) = vote_savings({"bfs": worse, "votes=5, all asked": full})
    assert not saving.met


def test_a_consensus_needs_no_judge() -> None:
    assert most_common(["a", "b", "b ", "c"]) == 1
    assert most_common(["a", "b", "c"]) == 0
    assert most_similar(["x y", "the red fox", "the red dog", "a red fox"]) == 1
    assert most_similar(["one"]) == 0


def test_result_and_report_contain_all_findings(tmp_path: Path) -> None:
    arms = main_arms(["bfs", "best_of_n", "best_of_n_all"], budget=4, best_of=8, best_of_all=6)
    trials = {"greedy": [Trial(t.index, t.seed, t.steps[:1], t.best[:1]) for t in method(9)]}
    trials |= {"bfs": method(1), "best_of_n": method(3), "best_of_n_all": all_judged(2, samples=7)}
    findings = analyze(arms, trials, {"bfs": {0: 0.1, 4: 0.5}}, budgets=(0, 1, 4))
    result = to_result(findings, arms, trials, config=CONFIG, models={}, budgets=(0, 1, 4))
    write_result(tmp_path / "result.json", result)
    again = read_result(tmp_path / "result.json")
    assert again.figures["bfs@4/strict"] == findings.at("bfs", 4).strict  # type: ignore[union-attr]
    # Each kind of best-of-N has its own largest budget, and its own comparisons.
    assert [one.budget for one in findings.line("best_of_n_all")] == [0, 1, 4, 6]
    assert [one.budget for one in findings.line("best_of_n")] == [0, 1, 4, 8]
    assert {"bfs@4 - best_of_n@4, equal budget", "bfs@4 - best_of_n_all@4, equal budget"} <= set(again.figures)
    item = next(item for item in again.items if item["id"] == "bfs")
    assert (item["strict"]["0"].count("1"), item["strict"]["1"].count("1")) == (60, 120)
    assert [int(n) for n in item["tokens"]["0"].split()] == [10] * 120
    report = to_report(findings, CONFIG)
    page = to_html(report)
    assert "Where best-of-N wins" in page
    choice = "at equal tokens (N = 2, the smallest that spends as much"
    assert f"Compared with best-of-N (all N drawn and judged) {choice}: 80 tokens): +50.0" in report.summary
    assert f"Compared with best-of-N that stops at the first accepted {choice}: 60 tokens): +50.0" in report.summary
    assert "Best-of-N (all N drawn and judged) wins nowhere." in report.summary
    assert "Best-of-N that stops at the first accepted wins nowhere." in report.summary
    text = to_markdown(report, tmp_path / "img")
    assert "(img/scaling-by-calls-tokens-and-seconds-1.svg)" in text
    assert "| best-of-N | 6 |" in text
    assert "| best-of-N, stops at the first accepted | 8 |" in text
    for axis in ("tokens", "calls", "budget"):
        assert f"*At equal {axis}, against best-of-N (all N drawn and judged)*" in text
        assert f"At equal {axis}, best-of-N that stops at the first accepted wins nowhere" in text
        assert f"*At equal {axis}, against best-of-N that stops at the first accepted*" in text
    assert "nan" not in text


def test_budgets_that_best_of_n_was_not_run_at_are_not_compared() -> None:
    arms = main_arms(["bfs", "best_of_n_all"], budget=8, best_of=8, best_of_all=4)
    trials = {"greedy": method(9), "bfs": method(1), "best_of_n_all": all_judged(2, samples=5)}
    findings = analyze(arms, trials, {}, budgets=(0, 4, 8))
    at = [(one.axis, one.budget) for one in findings.comparisons]
    assert at == [("tokens", 4), ("tokens", 8), ("calls", 4), ("calls", 8), ("budget", 4)]


def options(tmp_path: Path, **changes: object) -> Options:
    base: dict[str, object] = {
        "pair": None, "prompts": 2, "seeds": 1, "budgets": (0, 2), "methods": ("bfs", "best_of_n", "best_of_n_all"),
        "best_of": 2, "best_of_all": 2,
        "split": "held_out", "timed": 1, "oracles": True, "ablations": False, "out": tmp_path / "run", "docs": None,
    }  # fmt: skip
    return Options(**{**base, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"split": "train_"}, "--split train_: choose one of train"),
        ({"methods": ("bfs", "beam")}, "--methods beam: choose from bfs"),
        ({"budgets": (-1,)}, "--budgets: give whole numbers"),
        ({"pair": Path("/nowhere")}, "/nowhere/actor: no model here; --pair takes a folder"),
    ],
)
def test_invalid_options_are_named(tmp_path: Path, changes: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        run(options(tmp_path, **changes), command="spar")


def test_the_default_is_also_run_at_the_budget_of_the_ablations(tmp_path: Path) -> None:
    arms = {arm.name: arm for arm in options(tmp_path, budgets=(0, 2), ablations=True).arms}
    assert arms["bfs"].search.budget == arms["votes=1"].search.budget == 8
    assert budgets_of(arms["bfs"], (0, 2)) == [0, 2]
    # Without the default method there is nothing to compare ablations with.
    assert {arm.group for arm in options(tmp_path, methods=("dfs",), ablations=True).arms} == {"main", "oracle"}


def test_quick_only_reduces_a_run(tmp_path: Path) -> None:
    small = quick(options(tmp_path, prompts=500, seeds=3, budgets=(0, 8, 32)))
    assert (small.prompts, small.seeds, small.budgets) == (40, 1, (0, 8))
    assert quick(options(tmp_path)).prompts == 2


@pytest.mark.real
def test_the_shipped_pair_is_measured_from_end_to_end_and_only_once(tmp_path: Path) -> None:
    chosen = options(tmp_path, docs=tmp_path / "docs")
    run(chosen, command="spar bench scaling")
    first = (tmp_path / "run" / "result.json").read_bytes()
    models = json.loads(first)["models"]
    assert models["actor"]["weights"] == weights_digest(shipped_pair() / "actor")
    assert (tmp_path / "docs" / "scaling.md").exists()
    assert list((tmp_path / "docs" / "img").glob("scaling-*.svg"))
    run(chosen, command="spar bench scaling")
    assert (tmp_path / "run" / "result.json").read_bytes() == first
