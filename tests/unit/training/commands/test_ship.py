"""A finished run's pair as one self-contained folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spar_core.errors import ConfigError, DataError
from spar_server.cli.main import app
from spar_training.commands.ship import ship
from spar_training.runs.folder import open_run
from spar_training.runs.lineage import chain_of
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import write_json, write_text
from tests.support.trained_models import model, trained

VALUES = {"name": "mine", "seed": 4, "iterations": 2, "prompts": {"source": "world", "per_iteration": 5}}
CARD = "---\nlicense: apache-2.0\n---\n# small: the actor\n\nMade to show.\n\n- Shape: small\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "mine"
    opened = open_run(folder, Recipe.model_validate(VALUES))
    for role in ("actor", "refiner"):
        before = model(tmp_path / "start" / role)
        write_text(before / "README.md", CARD)
        for iteration in (opened.iteration(1), opened.iteration(2)):
            before = trained(iteration.file(role), before, iteration.file(f"{role}.jsonl"))
            write_json(iteration.file("pair.json"), {"name": "mine", "templates": "default"})
            with iteration.step(role):
                pass
    for number, share in ((0, 0.5), (1, 0.625), (2, 0.75)):
        with opened.iteration(number).step("evaluation") as counts:
            counts |= {"draft_prompt_strict": share, "judge_accuracy": 1 - share}
    return folder


def test_a_shipped_pair_has_its_whole_lineage_without_the_run(run: Path, tmp_path: Path) -> None:
    ship(run, tmp_path / "pair")
    run.rename(tmp_path / "gone")
    actor = tmp_path / "pair" / "actor"
    assert (actor / "model.safetensors").read_bytes() == b"actor"
    names = [ancestor.name for ancestor in chain_of(actor)]
    assert names == [str(actor), "iteration-1/actor", str(tmp_path / "start" / "actor")]
    lineage = json.loads((actor / "lineage.json").read_text())
    assert lineage["data"][0]["path"] == "iteration-2/actor.jsonl"
    log = json.loads((actor / "training_log.json").read_text())
    assert list(log) == ["iteration-1", "iteration-2"]
    assert json.loads((tmp_path / "pair" / "pair.json").read_text())["name"] == "mine"


def test_an_earlier_iteration_is_shipped_by_its_number(run: Path, tmp_path: Path) -> None:
    write_json(run / "iteration-1" / "pair.json", {"name": "first"})
    # A later iteration need not be finished.
    (run / "iteration-2" / "steps.json").unlink()
    words = ["train", "ship", str(run), "--out", str(tmp_path / "pair"), "--iteration", "1"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    actor = tmp_path / "pair" / "actor"
    assert [ancestor.name for ancestor in chain_of(actor)] == [str(actor), str(tmp_path / "start" / "actor")]
    assert list(json.loads((actor / "training_log.json").read_text())) == ["iteration-1"]
    card = (actor / "README.md").read_text()
    assert "Made by 1 iteration of self-play" in card
    assert "| alone | 0.500 | 0.625 |\n" in card
    assert json.loads((tmp_path / "pair" / "pair.json").read_text())["name"] == "first"


def test_its_cards_hold_the_figures_of_each_iteration_and_the_prose_of_the_starts_card(
    run: Path, tmp_path: Path
) -> None:
    ship(run, tmp_path / "pair")
    card = (tmp_path / "pair" / "actor" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n---\n# mine: the actor\n\nMade to show.\n")
    assert "| alone | 0.500 | 0.625 | 0.750 |" in card
    assert "labelled by\nthe refiner's own votes;" in card
    assert "- Shape" not in card
    assert "| judgement accuracy | 0.500 | 0.375 | 0.250 |" in (tmp_path / "pair/refiner/README.md").read_text()


def test_the_card_of_a_run_without_measurements_from_a_trained_model(run: Path, tmp_path: Path) -> None:
    for number in range(3):
        (run / f"iteration-{number}" / "steps.json").write_text('{"actor": {"seconds": 1}, "refiner": {"seconds": 1}}')
    trained(tmp_path / "start" / "actor", model(tmp_path / "base"), tmp_path / "sft.jsonl")
    ship(run, tmp_path / "pair")
    card = (tmp_path / "pair" / "actor" / "README.md").read_text()
    assert f"2 iterations of self-play (arXiv 2412.11605) from `{tmp_path}/start/actor`" in card
    assert "Measured on" not in card
    names = [ancestor.name for ancestor in chain_of(tmp_path / "pair" / "actor")]
    assert names[2:] == [str(tmp_path / "start" / "actor"), str(tmp_path / "base")]
    assert list(json.loads((tmp_path / "pair/actor/training_log.json").read_text())) == ["iteration-1", "iteration-2"]


def test_what_cannot_be_shipped_is_named(run: Path, tmp_path: Path) -> None:
    ship(run, tmp_path / "pair")
    with pytest.raises(ConfigError, match="actor already exists there"):
        ship(run, tmp_path / "pair")
    (run / "iteration-2" / "steps.json").unlink()
    with pytest.raises(ConfigError, match="iteration 2 has no actor yet"):
        ship(run, tmp_path / "other")
    with pytest.raises(ConfigError, match=r"--iteration 3: .* has 2 iterations"):
        ship(run, tmp_path / "other", iteration=3)


def test_a_lineage_that_does_not_reach_the_start_is_named_and_leaves_nothing(run: Path, tmp_path: Path) -> None:
    (run / "iteration-2" / "actor" / "lineage.json").unlink()
    with pytest.raises(DataError, match=r"iteration-2/actor: its lineage ends at .*has no lineage\.json"):
        ship(run, tmp_path / "pair")
    assert list((tmp_path / "pair").iterdir()) == []
