"""The self-play loop over the real pair: one small iteration, stopped and gone on with."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from rich.console import Console

from spar_core.errors import ConfigError
from spar_core.prompts import load_templates
from spar_server.cli.main import app
from spar_training.loop import Loop, check_recipe
from spar_training.pipeline.executors.local import LocalExecutor
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import Recipe, load_recipe
from spar_training.storage.provenance import data_digest

pytestmark = pytest.mark.real

JOB = {"learning_rate": 1e-4, "batch_size": 8, "max_length": 512, "dtype": "fp32", "max_steps": 1, "threads": 1}
SHORT = {"max_tokens": 160}
SMALL_EVALUATION = {"benchmark": "world", "split": "validation", "prompts": 6, "budget": 0}


def recipe(**changes: object) -> Recipe:
    values = {
        "name": "small",
        "templates": "compact",
        "iterations": 1,
        "prompts": {"source": "world", "per_iteration": 24},
        "sample": {**SHORT, "responses": 2},
        "judge": {**SHORT, "votes": 3},
        "search": {**SHORT, "budget": 6},
        "training": {"actor": JOB, "refiner": JOB},
    }
    return Recipe.model_validate({**values, **changes})


def loop(folder: Path, chosen: Recipe, shown: StringIO | None = None) -> Loop:
    return Loop(run=open_run(folder, chosen), executor=LocalExecutor(), console=Console(file=shown or StringIO()))


async def test_an_iteration_makes_a_pair_from_the_refiners_output_and_is_not_repeated(tmp_path: Path) -> None:
    chosen, shown = recipe(evaluation=SMALL_EVALUATION), StringIO()
    pair = await loop(tmp_path, chosen, shown).run_iterations()
    iteration = tmp_path / "iteration-1"
    steps = json.loads((iteration / "steps.json").read_text())
    assert list(steps) == ["prompts", "sample", "judge", "search", "data", "actor", "refiner", "evaluation"]
    assert steps["judge"]["votes"] == 3 * steps["judge"]["judgements"]
    judgements = [json.loads(line) for line in (iteration / "judgements.jsonl").read_text().splitlines()]
    assert all(not judgement["findings"] for row in judgements for judgement in row["judgements"])
    pairs = [json.loads(line) for line in (iteration / "dpo.jsonl").read_text().splitlines()]
    assert len(pairs) == steps["data"]["pairs"] == steps["search"]["accepted"]
    for name in ("actor", "refiner"):
        assert (iteration / name / "model.safetensors").exists()
    before = (pair.actor / "model.safetensors").stat().st_mtime_ns
    assert await loop(tmp_path, chosen).run_iterations() == pair
    assert (pair.actor / "model.safetensors").stat().st_mtime_ns == before
    assert_progress_is_shown(shown.getvalue().splitlines())
    assert_refinements_are_asked_for_as_at_inference(iteration)
    lineage = json.loads((pair.actor / "lineage.json").read_text())
    assert lineage["recipe"] == {
        "name": "small",
        "sha256": data_digest(chosen.fingerprint_fields()),
        "seed": 0,
        "iteration": 1,
    }


def assert_progress_is_shown(lines: list[str]) -> None:
    for role in ("actor", "refiner"):
        assert any(line.startswith(f"iteration 1, {role}: step 1 of 1, loss ") for line in lines)
    for number in (0, 1):
        figures = next(line for line in lines if line.startswith(f"iteration {number}: "))
        assert re.search(r"draft prompt strict \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\], n 6, ", figures)


def assert_refinements_are_asked_for_as_at_inference(iteration: Path) -> None:
    prompts = {row["id"]: row for row in map(json.loads, (iteration / "prompts.jsonl").read_text().splitlines())}
    rows = [json.loads(line) for line in (iteration / "rft.jsonl").read_text().splitlines()]
    refinements = [row for row in rows if row["kind"] == "refinement"]
    assert refinements
    refine = load_templates("compact").texts["refine"]
    for row in refinements:
        asked, critique, turn, reply = (message["content"] for message in row["messages"])
        assert prompts[row["id"].split("/")[0]]["messages"][0]["content"] in asked
        assert critique.endswith("Final Judgement: No")
        assert turn == refine
        assert reply.startswith("[[start]]")


async def test_a_run_does_not_resume_with_another_recipe(tmp_path: Path) -> None:
    with open_run(tmp_path, recipe()).iteration(1).step("search"):
        pass
    with pytest.raises(ConfigError, match=r"search\.budget was 6, is 9"):
        open_run(tmp_path, recipe(search={**SHORT, "budget": 9}))


async def test_a_start_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"start\.actor: no model in"):
        await loop(tmp_path, recipe(start={"actor": str(tmp_path)})).run_iterations()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"training": {"actor": {"learning_rat": 1}}}, r"training\.actor: .*learning_rat"),
        ({"training": {"actor": {"learning_rate": 1}, "refiner": {"cutof": 1}}}, r"training\.refiner: .*cutof"),
        ({"training": {"launcher": ["{nothing}"]}}, r"training\.launcher"),
        ({"templates": "nonesuch"}, "nonesuch"),
    ],
)
async def test_errors_of_the_trainings_are_found_before_the_first_call(
    tmp_path: Path, wrong: dict[str, Any], error: str
) -> None:
    with pytest.raises(ConfigError, match=error):
        check_recipe(recipe(**wrong))


def test_an_unknown_key_of_a_recipe_is_named(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: wrong\nprompts: {source: world, per_iteration: 5, of: 3}\n")
    with pytest.raises(ConfigError, match=r"prompts\.of"):
        load_recipe(str(file))


def test_an_invalid_recipe_leaves_no_folder(tmp_path: Path) -> None:
    words = ["--recipe", "small-pair", "--set", "training.actor.cutof=60", "--out", str(tmp_path / "run")]
    result = typer.testing.CliRunner().invoke(app, ["train", "run", *words])
    assert result.exit_code != 0
    assert not (tmp_path / "run").exists()
