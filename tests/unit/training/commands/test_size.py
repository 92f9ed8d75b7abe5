"""The estimated cost of a recipe, from the counts of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import ConfigError
from spar_training.commands.size import Shape, gpu_hours, measured, page, steps_of
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import Recipe, load_recipe
from spar_training.storage.files import write_json, write_rows

JOB = {"learning_rate": 1e-6, "max_length": 1000}
RECIPE = Recipe.model_validate(
    {
        "name": "r",
        "templates": "compact",
        "prompts": {"source": "world", "per_iteration": 100},
        "sample": {"responses": 5},
        "judge": {"votes": 3},
        "refiner_data": {"refinement": 10},
        "training": {"actor": JOB, "refiner": {**JOB, "epochs": 2}},
        "resources": {"parameters": 1e9, "peak_flops": 1e14, "serving_utilization": 0.1, "training_utilization": 0.5},
    }
)


def node(tokens: int) -> dict[str, Any]:
    return {"usage": {"completion_tokens": tokens}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten prompts, five searches of two nodes, four accepted; a judgement is half and a refinement twice an answer."""
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    steps = {
        "prompts": {"prompts": 10},
        "sample": {"responses": 50, "completion_tokens": 5000},
        "judge": {"votes": 150, "completion_tokens": 7500},
        "search": {"items": 5, "nodes": 10, "accepted": 4},
        "data": {"pairs": 4, "conversations": 6},
    }
    write_json(iteration.file("steps.json"), steps)
    write_rows(
        iteration.file("searches.jsonl"),
        [{"id": str(n), "trace": {"nodes": [node(100), node(150), node(250)]}} for n in range(5)],
    )
    kinds = ["refinement"] * 4 + ["sample_yes"] * 2
    write_rows(iteration.file("rft.jsonl"), [{"id": str(n), "kind": kind} for n, kind in enumerate(kinds)])
    return tmp_path


def test_the_shape_of_a_run_follows_from_its_files(run: Path) -> None:
    shape = measured(run)
    assert (shape.negatives, shape.nodes, shape.accepted) == (0.5, 2.0, 0.8)
    assert shape.rows == {"refinement": 0.4, "sample_yes": 0.2}
    assert (shape.judgement, shape.refinement) == (0.5, 2.0)


def test_calls_tokens_and_rows_follow_from_the_shape(run: Path) -> None:
    steps = {step.name: step for step in steps_of(RECIPE, measured(run), prompt_tokens=50, answer_tokens=100)}
    assert {name: step.calls for name, step in steps.items()} == {
        "sample": 500,
        "judge": 1500,
        "search: refinements": 100,
        "search: judgements": 300,
        "train the actor": 40,
        # Forty refinements would be over their cap.
        "train the refiner": 10 + 20,
    }
    assert (steps["sample"].prompt_tokens, steps["sample"].generated) == (500 * 50, 500 * 100)
    assert steps["judge"].generated == 1500 * 50
    assert steps["search: refinements"].generated == 100 * 200
    assert steps["train the actor"].prompt_tokens == 40 * 2 * 150


@pytest.mark.parametrize(("responses", "share"), [(5, 0.5), (10, 0.75), (15, 0.875), (1, 1 - 0.5**0.2)])
def test_more_answers_to_a_prompt_mean_more_prompts_with_a_negative(run: Path, responses: int, share: float) -> None:
    recipe = RECIPE.model_copy(update={"sample": RECIPE.sample.model_copy(update={"responses": responses})})
    steps = {step.name: step for step in steps_of(recipe, measured(run), prompt_tokens=50, answer_tokens=100)}
    assert steps["search: refinements"].calls == pytest.approx(100 * share * 2)


def test_gpu_hours_are_flops_over_the_assumed_share_of_the_peak(run: Path) -> None:
    sample, *_, actor, _ = steps_of(RECIPE, measured(run), prompt_tokens=50, answer_tokens=100)
    assert gpu_hours(RECIPE, sample) == pytest.approx(2 * 75_000 * 1e9 / 1e13 / 3600)
    assert gpu_hours(RECIPE, actor) == pytest.approx((6 + 2) * 12_000 * 1e9 / 5e13 / 3600)


def test_without_a_run_only_upper_bounds_are_shown() -> None:
    text = page(load_recipe("llama-3-70b"), None, prompt_tokens=50, answer_tokens=400)
    assert "| Expected" not in text
    # Ten thousand prompts, each with a whole search of fifteen nodes and five votes for each.
    assert "| search: judgements | 750,000 |" in text


def test_a_run_without_data_is_named(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    with pytest.raises(ConfigError, match="no iteration has searched"):
        measured(tmp_path)


DOCUMENTED = Path(__file__).parents[4] / "docs/sizing.md"
# The counts of the run that docs/sizing.md describes.
FIVE_ANSWERS = Shape(
    responses=5,
    negatives=325 / 1200,
    nodes=1452 / 325,
    accepted=273 / 325,
    rows={
        "refinement": 273 / 1200,
        "sample_no": 56 / 1200,
        "sample_yes": 199 / 1200,
        "tree_no": 22 / 1200,
        "tree_yes": 38 / 1200,
    },
    judgement=1.22,
    refinement=1.44,
)


def test_the_documentation_has_the_tables_of_llama_3_8b(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_training.commands.size.measured", lambda run: FIVE_ANSWERS)
    text = DOCUMENTED.read_text(encoding="utf-8")
    made = page(load_recipe("llama-3-8b"), Path("runs/five-answers"), prompt_tokens=49, answer_tokens=460)
    assumptions, _, tables = made.partition("\n\n")
    assert tables in text
    assert " ".join(assumptions.split()) in " ".join(text.split())


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-3-70b", "glm-4-9b", "mistral-7b"])
def test_the_documentation_has_the_gpu_hours_of_every_backbone(name: str) -> None:
    recipe = load_recipe(name)
    figures = []
    for shape in (FIVE_ANSWERS, None):
        steps = steps_of(recipe, shape, prompt_tokens=49, answer_tokens=460)
        hours = sum(gpu_hours(recipe, step) or 0 for step in steps)
        figures += [f"{hours:,.1f}", f"{3 * hours:,.1f}", f"{3 * hours / recipe.resources.gpus / 24:.1f}"]
    assert f"| {' | '.join(figures)} |" in DOCUMENTED.read_text(encoding="utf-8")
