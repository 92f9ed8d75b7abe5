"""A self-play study: its file, the work that its runs share, and its report on runs with figures computed by hand."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.reports.result import read_result, write_result
from spar_training.runs.folder import Run, open_run, read_run
from spar_training.storage.files import write_json, write_rows
from spar_training.studies.self_play.analysis import analyze
from spar_training.studies.self_play.command import report_on
from spar_training.studies.self_play.criteria import criteria
from spar_training.studies.self_play.results import read_outcomes
from spar_training.studies.self_play.runner import StudyRunner, copy_shared_work, recipe_for
from spar_training.studies.self_play.study import Study, load_study, run_folder
from tests.support.interference_result import result

RECIPE = """
name: small
templates: compact
iterations: 2
prompts: {source: world, per_iteration: 4}
search: {budget: 6}
evaluation: {benchmark: world, prompts: 4, judged: 3, budget: 8}
"""
STUDY = """
name: tiny
recipe: small.yaml
seeds: [1, 2]
reference: refined
arms:
  sampled:
    label: no refinement
    equal_pairs_to: refined
    paper: −2.6 / −1.6
    recipe: {actor_data: {pairs: sampled}, evaluation: {budget: 0}}
  once:
    label: no iteration
    equal_pairs_to: refined
    recipe: {iterations: 1, prompts: {per_iteration: 8}, evaluation: {budget: 0}}
  refined:
"""
# Which constraints the actor meets strictly, two for each of four prompts, by iteration.
START = [[1, 1], [1, 0], [0, 0], [1, 1]]
FIRST = [[1, 1], [1, 1], [0, 0], [1, 1]]
SECOND = [[1, 1], [1, 1], [1, 0], [1, 1]]
SEARCHED = [[1, 1], [1, 1], [1, 1], [1, 1]]


def study(folder: Path, text: str = STUDY) -> Study:
    (folder / "small.yaml").write_text(RECIPE)
    (folder / "study.yaml").write_text(text)
    return load_study(str(folder / "study.yaml"))


def answers(met: list[list[int]]) -> list[dict[str, Any]]:
    return [
        {"id": f"p{index}", "text": "one two", "strict": list(map(bool, one)), "loose": list(map(bool, one))}
        for index, one in enumerate(met)
    ]


def judgements(accepted: list[int], fixed: list[int]) -> list[dict[str, Any]]:
    """Judgements of the start's drafts, of which the first and the last are good; `fixed` holds indices."""
    rows = []
    for index, (one, is_accepted) in enumerate(zip(START, accepted, strict=True)):
        row: dict[str, Any] = {
            "id": f"p{index}",
            "good": all(one),
            "accepted": bool(is_accepted),
            "value": float(is_accepted),
        }
        if not row["good"] and not is_accepted:
            row |= {"refined": "one", "refined_good": index in fixed, "refined_accepted": True}
        rows.append(row)
    return rows


def pair(prompt: int, chosen: str, rejected: str, similarity: float) -> dict[str, Any]:
    return {
        "id": f"q{prompt}",
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "provenance": {"similarity": similarity},
    }


def measured(run: Run, number: int, drafts: list[list[int]], searched: list[list[int]] | None, **judged: Any) -> None:
    iteration = run.iteration(number)
    write_rows(iteration.file("evaluation/drafts.jsonl"), answers(drafts))
    write_rows(
        iteration.file("evaluation/judged.jsonl"),
        judgements(judged.get("accepted", [1, 0, 0, 1]), judged.get("fixed", [])),
    )
    if searched:
        write_rows(iteration.file("evaluation/searched.jsonl"), answers(searched))
    steps: dict[str, Any] = {"evaluation": {"seconds": 30.0}}
    if number:
        no_comma = {"id": "punctuation:no_comma", "kwargs": {}}
        messages = [{"role": "user", "content": "Write without commas."}]
        write_rows(
            iteration.file("prompts.jsonl"),
            [{"id": f"q{index}", "messages": messages, "checks": [no_comma]} for index in range(4)],
        )
        write_rows(
            iteration.file("dpo.jsonl"), [pair(0, "all fine", "not, fine", 0.5), pair(1, "not, so", "fine", 0.0)]
        )
        steps |= {"data": {"seconds": 0.0, "pairs": 2}}
    write_json(iteration.file("steps.json"), steps)


def start(chosen: Study, out: Path, name: str, seed: int) -> Run:
    arm = chosen.arm(name)
    return open_run(run_folder(out, arm, seed), recipe_for(chosen, arm, seed, out=out))


def refined(chosen: Study, out: Path, seed: int) -> Run:
    run = start(chosen, out, "refined", seed)
    measured(run, 0, START, FIRST, accepted=[1, 1, 0, 1])
    measured(run, 1, FIRST, SEARCHED)
    measured(run, 2, SECOND, SEARCHED, fixed=[1])
    return run


def complete(chosen: Study, out: Path) -> None:
    for seed in chosen.seeds:
        refined(chosen, out, seed)
        sampled = start(chosen, out, "sampled", seed)
        for number in range(3):
            measured(sampled, number, START, None)
        once = start(chosen, out, "once", seed)
        measured(once, 0, START, None)
        measured(once, 1, FIRST, None)


def test_a_study_merges_the_changes_of_its_arms_and_starts_with_the_reference(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    assert [arm.name for arm in chosen.arms] == ["refined", "sampled", "once"]
    sampled = chosen.arm("sampled").recipe
    assert (sampled.method.kind, sampled.search.budget) == ("sampled", 6)
    assert (sampled.evaluation.prompts, sampled.evaluation.budget) == (4, 0)


def test_the_shipped_study_loads() -> None:
    assert load_study("small-pair").seeds == (1, 2, 3)


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("seeds: [1, 2]", "seeds: []", r"seeds: Tuple should have at least 1"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds: must not contain a seed twice"),
        ("reference: refined", "reference: gold", r"reference: gold is not one of the arms sampled, once, refined"),
        ("{actor_data: {pairs: sampled}", "{actor_data: {pears: 1}", r"arms\.sampled\.recipe: actor_data\.pears"),
        ("{iterations: 1, ", "{iterations: 1, seed: 3, ", r"arms\.once\.recipe\.seed: all arms use the study's"),
        (
            "equal_pairs_to: refined",
            "equal_pairs_to: once",
            r"once must be an arm that runs earlier \(one of refined\)",
        ),
        ("{iterations: 1, ", "{iterations: 3, ", r"refined has 2 iterations, so this arm can have 2 or 1"),
        ("{budget: 0}}", "{benchmark: none}}", r"arms\.sampled: evaluation\.benchmark is none"),
        ("recipe: small.yaml", "recipe: large.yaml", r"large\.yaml: neither a shipped recipe"),
        ("label: no refinement", "lable: no refinement", r"arms\.sampled\.lable"),
    ],
)
def test_an_invalid_study_is_refused_with_its_key(tmp_path: Path, before: str, after: str, error: str) -> None:
    assert before in STUDY
    with pytest.raises(ConfigError, match=error):
        study(tmp_path, STUDY.replace(before, after, 1))


def test_the_error_on_an_unknown_study_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"none-such: neither a shipped study \(small-pair\) nor a file"):
        load_study("none-such")


def test_an_arm_may_train_on_as_many_pairs_as_another(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    with pytest.raises(ConfigError, match=r"refined-1: iteration 1 has no pairs yet, but sampled needs their number"):
        start(chosen, tmp_path, "sampled", 1)
    refined(chosen, tmp_path, 1)
    sampled, once = (recipe_for(chosen, chosen.arm(name), 1, out=tmp_path) for name in ("sampled", "once"))
    assert [sampled.actor_data.max_pairs_in(number) for number in (1, 2)] == [2, 2]
    assert once.actor_data.max_pairs_in(1) == 4


def test_runs_share_their_first_steps(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    donor = refined(chosen, tmp_path, 1)
    first = donor.iteration(1)
    for name in ("samples", "judgements"):
        write_rows(first.file(f"{name}.jsonl"), [{"id": "q0"}])
        write_rows(first.file(f"{name}.failed.jsonl"), [])
    first_steps = {name: {"seconds": 9.0, "items": 4} for name in ("prompts", "sample", "judge")}
    write_json(first.file("steps.json"), {**first_steps, **first.steps()})

    sampled = start(chosen, tmp_path, "sampled", 1)
    assert len(copy_shared_work(donor, sampled)) == 5
    evaluation = sampled.iteration(0).steps()["evaluation"]
    assert (evaluation["seconds"], evaluation["draft_prompt_strict"]) == (0.0, 0.5)
    assert "searched_prompt_strict" not in evaluation
    assert not sampled.iteration(0).file("evaluation/searched.jsonl").exists()
    assert sampled.iteration(1).steps() == {name: {"seconds": 0.0, "items": 4} for name in first_steps}
    assert sampled.iteration(1).file("samples.failed.jsonl").exists()
    shared = json.loads(sampled.iteration(1).file("shared.json").read_text())
    assert shared == {"from": str(first.folder), "files": ["prompts.jsonl", "samples.jsonl", "judgements.jsonl"]}
    assert copy_shared_work(donor, sampled) == []

    # This arm has more prompts, so only the start's evaluation is the same.
    once = start(chosen, tmp_path, "once", 1)
    assert copy_shared_work(donor, once) == ["evaluation/drafts.jsonl", "evaluation/judged.jsonl"]
    assert once.iteration(1).steps() == {}
    other_seed = start(chosen, tmp_path, "refined", 2)
    assert copy_shared_work(donor, other_seed) == []


async def test_a_finished_run_is_only_read_and_the_reference_runs_first(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    before = refined(chosen, tmp_path, 1)
    executed: list[str] = []

    async def run_loop(run: Run) -> None:
        executed.append(run.folder.name)
        for number in range(run.recipe.iterations + 1):
            measured(run, number, START, None)

    await StudyRunner(study=chosen, out=tmp_path, run_loop=run_loop, console=Console(file=StringIO())).run()
    assert executed == ["sampled-1", "once-1", "refined-2", "sampled-2", "once-2"]
    assert read_run(tmp_path / "sampled-2").recipe.actor_data.max_pairs == (2, 2)
    assert read_run(tmp_path / "sampled-2").recipe.seed == 2
    assert before.iteration(0).file("evaluation/searched.jsonl").exists()


def test_the_figures_are_paired_by_prompt_and_seed(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    complete(chosen, tmp_path)
    outcomes = read_outcomes(chosen, tmp_path)
    findings = analyze(outcomes)
    assert outcomes.missing() == outcomes.differing() == []
    last = findings.point("refined", 2)
    assert last is not None
    assert (last.accuracy["prompt strict"].mean, last.accuracy["prompt strict"].n) == (0.75, 8)
    assert last.accuracy["instruction strict"].mean == pytest.approx(7 / 8)
    assert last.gains["prompt strict"].mean == pytest.approx(0.25)
    assert last.gains["instruction strict"].mean == pytest.approx(2 / 8)
    assert last.by_seed == {1: 0.75, 2: 0.75}
    refiner = findings.refiner("refined", 2)
    assert refiner is not None
    assert (refiner.accuracy.mean, refiner.accuracy_gain.mean) == (1.0, 0.25)
    # Of the two bad drafts, the start's judge found one and the last judge both.
    assert (refiner.f1.mean, refiner.f1_gain.mean) == (1.0, pytest.approx(1 - 2 / 3))
    assert (refiner.success.mean, refiner.success_by_own_judge.mean, refiner.fixed.mean) == (0.5, 1.0, 0.5)
    assert findings.search is not None
    assert findings.search.errors_removed.mean == 1.0
    assert findings.search.errors_removed_by_search_alone.mean == 0.5
    assert [(one.arm, one.iteration, one.prompt.mean) for one in findings.contrasts] == [
        ("sampled", 1, -0.25),
        ("sampled", 2, -0.25),
    ]
    assert [(one.arm, one.iteration, one.prompt.mean) for one in findings.ablations] == [
        ("sampled", 2, -0.25),
        ("once", 1, 0.0),
    ]
    pairs = findings.pairs[0]
    assert (pairs.counts, pairs.similarity.mean) == ({1: 2, 2: 2}, 0.25)
    # One chosen side of two has no comma, and one rejected side has one.
    assert (pairs.chosen_right.mean, pairs.rejected_wrong.mean, pairs.both.mean) == (0.5, 0.5, 0.5)


def test_an_arm_is_compared_with_the_arm_that_its_pairs_are_equal_to(tmp_path: Path) -> None:
    few = """  few:
    label: few pairs
    recipe: {actor_data: {most: 1}, evaluation: {judged: 2}}
  sampled-few:
    label: few sampled pairs
    equal_pairs_to: few
    recipe: {actor_data: {pairs: sampled}, evaluation: {judged: 2}}
"""
    chosen = study(tmp_path, STUDY + few)
    complete(chosen, tmp_path)
    for arm, drafts in (("few", [START, FIRST, FIRST]), ("sampled-few", [START, START, SECOND])):
        run = start(chosen, tmp_path, arm, 1)
        for number, met in enumerate(drafts):
            measured(run, number, met, None)
    outcomes = read_outcomes(chosen, tmp_path)
    findings = analyze(outcomes)
    few_pairs = [(one.base, one.iteration, one.prompt.mean) for one in findings.contrasts if one.arm == "sampled-few"]
    assert few_pairs == [("few", 1, -0.25), ("few", 2, 0.0)]
    assert "refined pairs beat sampled ones after iteration 2, at most 1 an iteration" in {
        criterion.claim for criterion in criteria(outcomes, findings)
    }
    report_on(chosen, out=tmp_path, docs=tmp_path, command="spar bench self-play", console=Console(file=StringIO()))
    page = (tmp_path / "self-play.md").read_text()
    assert "## Refined against sampled pairs\n" in page
    assert "## Refined against sampled pairs, at most 1 an iteration\n" in page
    assert re.search(
        r"- Few sampled pairs: \+0\.0 \[−\S+, \+\S+\] points \(no difference shown\) compared with few", page
    )
    first = "Evaluation: 4 validation prompts (judge and refinement: the first 3) for `refined`, `sampled`, `once`; "
    assert f"{first}4 validation prompts (judge and refinement: the first 2) for `few`, `sampled-few`. They" in page
    assert [one.arm for one in findings.ablations] == ["sampled", "once", "few"]


def test_a_criterion_is_met_only_beyond_chance(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    complete(chosen, tmp_path)
    outcomes = read_outcomes(chosen, tmp_path)
    found = {criterion.claim: criterion.verdict for criterion in criteria(outcomes, analyze(outcomes))}
    # One of four prompts improves, and two have errors: a resample may well miss them.
    assert found == {
        "iteration 2 is at least 5 points above the start": "not shown",
        "the search improves further on iteration 2": "not shown",
        "together they remove at least 50% of the errors at the start": "not shown",
        "the judge's accuracy does not fall by iteration 2": "met",
        "refined pairs beat sampled ones after iteration 2": "not shown",
    }


def test_the_report_covers_what_was_measured_and_lists_what_is_missing(tmp_path: Path) -> None:
    chosen = study(tmp_path)
    run = refined(chosen, tmp_path / "out", 1)
    run.iteration(2).file("steps.json").unlink()
    manifest = json.loads((run.folder / "run.json").read_text())
    manifest["recipe"]["evaluation"]["split"] = "held_out"
    write_json(run.folder / "run.json", manifest)
    write_result(tmp_path / "out/interference/result.json", result())
    report_on(
        chosen,
        out=tmp_path / "out",
        docs=tmp_path / "docs",
        command="spar bench self-play",
        console=Console(file=StringIO()),
    )
    page = (tmp_path / "docs/self-play.md").read_text()
    assert "After iteration 1 it does so in 75.0" in page
    assert "(no difference shown)" in page
    assert "| refined pairs beat sampled ones | – | not measured |" in page
    assert "## Refined and interfering pairs: copies of a letter" in page
    for line in (
        "- refined, seed 2: not started",
        "- refined, seed 1: iteration 2 is not finished",
        "- once, seed 1, 2: not started",
        "- refined-1 was run with evaluation.split: held_out, the study says validation",
        "Evaluation: 4 held-out prompts (judge and refinement: the first 3)",
    ):
        assert line in page
    assert "Refined against sampled" not in page
    assert "What each part is worth" not in page
    for image in (
        "iteration-by-iteration-1",
        "iteration-by-iteration-2",
        "refined-and-interfering-pairs-copies-of-a-letter-1",
    ):
        assert f"img/self-play-{image}.svg" in page
        assert (tmp_path / f"docs/img/self-play-{image}.svg").exists()
    stored = read_result(tmp_path / "out/result.json")
    assert [item["strict"] for item in stored.items] == ["1001", "1101"]
    assert (tmp_path / "out/report.html").read_text().startswith("<!doctype html>")


def test_a_report_on_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing of the study tiny has been measured here; leave out --report-only"):
        read_outcomes(study(tmp_path), tmp_path / "out")
