"""A run's folder: what is done, and how far it is."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.recipe import Recipe, Serving
from spar_training.runs import open_run, read_run
from spar_training.status import show

RECIPE = Recipe.model_validate({"name": "r", "prompts": {"source": "world", "per_iteration": 5}})


def test_a_step_is_kept_with_what_it_counted_and_the_time_of_all_its_tries(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)

    def fail() -> None:
        with iteration.step("sample"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert iteration.steps() == {}
    with iteration.step("sample") as counts:
        counts["items"] = 5
    assert iteration.steps()["sample"]["items"] == 5
    assert [file.name for file in iteration.folder.iterdir()] == ["steps.json"]


def test_a_run_may_be_given_more_iterations(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    assert open_run(tmp_path, RECIPE.model_copy(update={"iterations": 5})).recipe.iterations == 5


def test_status_of_a_run_that_was_given_more_iterations_tells_of_them(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    open_run(tmp_path, RECIPE.model_copy(update={"iterations": 5}))
    assert read_run(tmp_path).recipe.iterations == 5
    open_run(tmp_path, RECIPE)
    assert read_run(tmp_path).recipe.iterations == 5


def test_a_run_goes_on_wherever_its_models_are_served_and_trained_now(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    served = Serving(engine="command", command=("vllm", "serve", "{model}"), replicas=4)
    training = {"launcher": ("accelerate", "launch", "-m"), "actor": {"threads": 2, "save_every": 7}}
    elsewhere = Recipe.model_validate({**RECIPE.model_dump(), "serving": served, "training": training})
    assert open_run(tmp_path, elsewhere).recipe.serving == served
    assert read_run(tmp_path).recipe == elsewhere
    otherwise = Recipe.model_validate({**RECIPE.model_dump(), "training": {"actor": {"learning_rate": 1.0}}})
    with pytest.raises(ConfigError, match="begun with training"):
        open_run(tmp_path, otherwise)


def test_status_tells_finished_steps_and_what_is_under_way(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    with iteration.step("sample") as counts:
        counts |= {"items": 5, "failed": 1}
    iteration.file("judgements.jsonl.journal").write_text('{"id": "1"}\n{"id": "2"}\n{"id')
    told = StringIO()
    show(tmp_path, console=Console(file=told, width=120))
    assert "items 5, failed 1" in told.getvalue()
    assert "unfinished, 2 items done" in told.getvalue()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run here"):
        read_run(tmp_path)
