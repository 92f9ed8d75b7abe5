"""A run's folder: what is done, and how far it is."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_training.commands.show import show
from spar_training.commands.show import show as show_models
from spar_training.evals.world.iteration import figures
from spar_training.inference.config import Serving
from spar_training.runs.folder import Iteration, open_run, read_run
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import write_rows

RECIPE = Recipe.model_validate({"name": "r", "prompts": {"source": "world", "per_iteration": 5}})


def test_a_step_is_recorded_with_its_counts_and_the_time_of_all_tries(tmp_path: Path) -> None:
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


def test_the_manifest_holds_the_largest_number_of_iterations(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    open_run(tmp_path, RECIPE.model_copy(update={"iterations": 5}))
    assert read_run(tmp_path).recipe.iterations == 5
    open_run(tmp_path, RECIPE)
    assert read_run(tmp_path).recipe.iterations == 5


def test_a_run_may_resume_with_other_servers_and_trainers(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    served = Serving(engine="command", command=("vllm", "serve", "{model}"), replicas=4)
    training = {"launcher": ("accelerate", "launch", "-m"), "actor": {"threads": 2, "save_every": 7}}
    elsewhere = Recipe.model_validate({**RECIPE.model_dump(), "serving": served, "training": training})
    assert open_run(tmp_path, elsewhere).recipe.serving == served
    assert read_run(tmp_path).recipe == elsewhere


def changed(**changes: object) -> Recipe:
    return Recipe.model_validate({**RECIPE.model_dump(), **changes})


def finish(iteration: Iteration, *steps: str) -> None:
    for name in steps:
        with iteration.step(name):
            pass


def test_any_key_may_change_until_a_step_has_started(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE)
    other = changed(seed=4, templates="compact", start={"actor": "shipped"})
    open_run(tmp_path, other)
    assert read_run(tmp_path).recipe == other
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert manifest["start"]["actor"]["model"].endswith("spar_core/models/actor")


@pytest.mark.parametrize(
    ("change", "unused", "user"),
    [
        ({"sample": {"max_tokens": 9}}, ("evaluation", "prompts"), "sample"),
        ({"judge": {"max_tokens": 9}}, ("prompts", "sample"), "judge"),
        ({"training": {"actor": {"max_length": 9}}}, ("prompts", "sample", "judge", "search", "data"), "actor"),
        ({"training": {"refiner": {"batch_size": 9}}}, ("data", "actor"), "refiner"),
        ({"evaluation": {"prompts": 9}}, ("data", "actor", "refiner"), "evaluation"),
        ({"refiner_data": {"tree_yes": 9}}, ("search",), "data"),
        ({"seed": 9}, (), "prompts"),
    ],
)
def test_a_key_may_change_until_a_step_that_uses_it_is_finished(
    change: dict[str, object], unused: tuple[str, ...], user: str, tmp_path: Path
) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    finish(iteration, *unused)
    open_run(tmp_path, changed(**change))
    assert read_run(tmp_path).recipe == changed(**change)
    finish(iteration, user)
    with pytest.raises(ConfigError, match=rf"was 9, is .*Its step {user} has used that .*iteration-1/steps\.json"):
        open_run(tmp_path, RECIPE)


def test_the_error_for_a_half_done_step_says_how_to_start_it_over(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    finish(iteration, "prompts")
    journal = iteration.file("samples.jsonl.journal")
    journal.write_text("")
    open_run(tmp_path, changed(sample={"temperature": 1.0}))
    journal.write_text('{"id": "1"}\n')
    with pytest.raises(ConfigError, match=rf"sample\.temperature was 1\.0.* or remove {journal}, to start sample over"):
        open_run(tmp_path, RECIPE)


def test_a_run_that_was_started_with_deprecated_keys_resumes(tmp_path: Path) -> None:
    run = open_run(tmp_path, changed(actor_data={"max_pairs": 5}, evaluation={"judged_prompts": 7}))
    finish(run.iteration(1), "prompts", "sample", "data", "evaluation")
    manifest = json.loads((tmp_path / "run.json").read_text())
    del manifest["recipe"]["method"]
    manifest["recipe"]["actor_data"] = {"pairs": "refined", "most": 5}
    manifest["recipe"]["evaluation"]["judged"] = manifest["recipe"]["evaluation"].pop("judged_prompts")
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    assert open_run(tmp_path, run.recipe).recipe == run.recipe
    with pytest.raises(ConfigError, match=r"actor_data\.max_pairs was 5, is 6\. Its step data has used that"):
        open_run(tmp_path, changed(actor_data={"max_pairs": 6}, evaluation={"judged_prompts": 7}))


def test_the_method_may_not_change_once_a_step_has_run(tmp_path: Path) -> None:
    sampled = changed(method={"kind": "sampled"})
    iteration = open_run(tmp_path, sampled).iteration(1)
    finish(iteration, "prompts", "sample", "judge")
    with pytest.raises(ConfigError, match=r"method\.kind was"):
        open_run(tmp_path, RECIPE)


def test_damaged_steps_are_named_by_their_file(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    finish(iteration, "prompts")
    for wrong in ('{"prompts": {"sec', "[]", '{"prompts": 3}'):
        iteration.file("steps.json").write_text(wrong)
        with pytest.raises(DataError, match=r"iteration-1/steps\.json: damaged"):
            iteration.steps()


def test_finished_and_unfinished_steps_are_shown(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(1)
    with iteration.step("sample") as counts:
        counts |= {"items": 5, "failed": 1}
    iteration.file("judgements.jsonl.journal").write_text('{"id": "1"}\n{"id": "2"}\n{"id')
    screen = StringIO()
    show(tmp_path, console=Console(file=screen, width=120))
    assert "items 5, failed 1" in screen.getvalue()
    assert "unfinished, 2 items done" in screen.getvalue()


def test_a_figure_of_nothing_is_null_in_the_file_and_a_dash_on_the_screen(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(0)
    folder = iteration.file("evaluation")
    drafts = {"id": "1", "strict": [True], "loose": [True]}
    write_rows(folder / "drafts.jsonl", [drafts])
    write_rows(folder / "judged.jsonl", [{"id": "1", "good": True, "accepted": True, "value": 1.0}])
    with iteration.step("evaluation") as counts:
        counts |= figures(folder)
    assert '"refinement_success": null' in iteration.file("steps.json").read_text()
    for shown in (show, show_models):
        screen = StringIO()
        shown(tmp_path, console=Console(file=screen, width=300))
        assert re.search("refinement success .*–", screen.getvalue())


def test_a_figure_that_an_earlier_version_wrote_as_nan_is_unknown(tmp_path: Path) -> None:
    iteration = open_run(tmp_path, RECIPE).iteration(0)
    finish(iteration, "evaluation")
    iteration.file("steps.json").write_text('{"evaluation": {"seconds": 1.0, "refinement_success": NaN}}')
    assert iteration.steps()["evaluation"]["refinement_success"] is None


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run here"):
        read_run(tmp_path)
