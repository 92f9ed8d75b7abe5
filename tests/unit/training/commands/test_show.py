"""A model's chain of parents, and a run as `spar train show` draws it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_core.model_folder import named_folder
from spar_training.commands.show import show
from spar_training.runs.folder import open_run
from spar_training.runs.lineage import chain_of
from spar_training.runs.recipe import Recipe
from tests.support.trained_models import model, trained

RECIPE = Recipe.model_validate({"name": "mine", "seed": 4, "prompts": {"source": "world", "per_iteration": 5}})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two iterations, as far as its actors go."""
    folder = tmp_path / "run"
    opened = open_run(folder, RECIPE)
    start = model(tmp_path / "start")
    first, second = opened.iteration(1), opened.iteration(2)
    trained(first.actor, start, first.file("dpo.jsonl"))
    trained(second.actor, first.actor, second.file("dpo.jsonl"))
    for iteration, figure in ((opened.iteration(0), 0.5), (first, 0.625)):
        with iteration.step("evaluation") as counts:
            counts["draft_prompt_strict"] = figure
    return folder


def shown(path: Path, *, check: bool = False) -> str:
    out = StringIO()
    show(path, check=check, console=Console(file=out, width=240))
    return out.getvalue()


def test_a_run_is_shown_with_its_figures_by_iteration_and_its_newest_models_parents(run: Path) -> None:
    text = shown(run)
    assert "mine in" in text
    assert "seed 4" in text
    (figures,) = (line for line in text.splitlines() if "0.500" in line and "0.625" in line)
    assert figures.index("draft prompt strict") < figures.index("0.500") < figures.index("0.625")
    places = [
        text.rindex(str(part)) for part in (run / "iteration-2/actor", run / "iteration-1/actor", run.parent / "start")
    ]
    assert places == sorted(places)


def test_a_figure_is_shown_with_its_interval_and_number_of_items(run: Path) -> None:
    spread = {"low": 0.4375, "high": 0.75, "n": 1000}
    with open_run(run, RECIPE).iteration(2).step("evaluation") as counts:
        counts |= {"draft_prompt_strict": 0.625, "intervals": {"draft_prompt_strict": spread}}
    text = shown(run)
    assert "0.625 [0.438, 0.750], n 1,000" in text
    assert "intervals" not in text


def test_a_model_is_shown_with_data_recipe_seeds_versions_and_code(run: Path) -> None:
    text = shown(run / "iteration-2" / "actor")
    for part in ("by dpo on", "dpo.jsonl (1 rows", "2 rows left out", "30 steps, seed 9, learning rate 2e-07"):
        assert part in text
    for part in ("iteration 2 of the recipe mine (abababababab), seed 4", "torch 2.13.0, code c0dec0dec0de"):
        assert part in text
    assert "start: " in text


def test_a_check_names_what_has_changed(run: Path) -> None:
    assert "changed since" not in shown(run / "iteration-2/actor", check=True).replace("nothing has changed since", "")
    (run / "iteration-1" / "dpo.jsonl").write_text("{}\n")
    (run.parent / "start" / "model.safetensors").write_bytes(b"other")
    text = shown(run / "iteration-2/actor", check=True)
    assert f"{run}/iteration-1/dpo.jsonl: has changed since" in text
    assert f"{run.parent}/start: its weights are not those" in text


def test_a_chain_is_followed_in_a_run_that_was_moved(run: Path) -> None:
    moved = run.rename(run.with_name("moved"))
    chain = chain_of(moved / "iteration-2" / "actor")
    assert chain[1].folder == moved / "iteration-1" / "actor"
    assert [each.lineage is None for each in chain] == [False, False, True]


def test_a_shipped_pairs_base_is_a_name_and_another_missing_start_is_gone(run: Path) -> None:
    text = shown(named_folder(Path("spar-135m")))
    assert text.count("└── HuggingFaceTB/SmolLM2-135M-Instruct, weights ") == 2
    assert text.count("start: a name on Hugging Face, or a folder that is not here") == 2
    (run.parent / "start").rename(run.parent / "gone")
    assert "no longer exists" in shown(run / "iteration-2" / "actor")


def test_a_folder_without_a_model_or_with_a_damaged_one_is_named(run: Path) -> None:
    with pytest.raises(ConfigError, match="neither a run"):
        shown(run / "iteration-1")
    (run / "iteration-1" / "actor" / "lineage.json").write_text("{")
    with pytest.raises(DataError, match=r"lineage\.json: damaged"):
        shown(run / "iteration-2" / "actor")
