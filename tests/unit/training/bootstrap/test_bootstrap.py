"""The bootstrap: recipes, the tokenizer, and a tiny run from nothing to a pair that the engine serves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from spar_core.backends.local import LocalBackend, LocalEngine
from spar_core.errors import ConfigError, DataError
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling
from spar_server.cli.main import app
from spar_training.bootstrap.checkpoint import load_checkpoint
from spar_training.bootstrap.muon import orthogonalize
from spar_training.bootstrap.recipe import Recipe, Stage, load_recipe
from spar_training.bootstrap.run import Bootstrap
from spar_training.bootstrap.ship import ship_pair
from spar_training.bootstrap.tasks import Tasks
from spar_training.storage.lock import folder_lock
from spar_training.world.samples import refiner_sample


def tiny_recipe() -> Recipe:
    stages = (
        {"name": "copying", "tokens": 30_000, "lr": 1e-3, "mix": {"copy": 1}},
        {"name": "both", "start": "copying", "tokens": 50_000, "lr": 1e-3, "mix": {"actor": 1, "refiner": 1}},
        {"name": "own", "start": "both", "tokens": 20_000, "lr": 1e-3, "mix": {"own": 1}},
    )
    return Recipe.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "templates": "compact",
            "shape": {"width": 32, "layers": 1, "heads": 2, "mlp": 32, "context": 512},
            "tokenizer_examples": 50,
            "tokenizer_min_count": 1,
            "stages": stages,
            "own_answers": {"prompts": 6, "temperature": 1.0},
            "actor": "both",
            "refiner": "own",
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Bootstrap:
    bootstrap = Bootstrap(tiny_recipe(), tmp_path_factory.mktemp("run"), probe_size=4)
    bootstrap.run(lambda stage, progress, figures: None)
    return bootstrap


def test_the_shipped_recipe_is_valid() -> None:
    recipe = load_recipe("small-pair")
    assert (recipe.actor, recipe.refiner) == ("actor", "own_answers")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "not YAML"),
        ("name: x", "seed: Field required"),
        ("name: x\ncolour: red", "colour: there is no such key"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_recipe(str(file))


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither a shipped recipe \(small-pair\) nor a file"):
        load_recipe(str(tmp_path))
    (tmp_path / "model.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match=r"model.yaml: not YAML"):
        load_recipe(str(tmp_path / "model.yaml"))


def test_fewer_threads_than_one_are_refused() -> None:
    refused = CliRunner().invoke(app, ["train", "bootstrap", "--recipe", "missing.yaml", "--threads", "-1"])
    assert refused.exit_code == 2
    assert "--threads" in refused.output


def test_a_stage_must_start_from_an_earlier_one() -> None:
    data = tiny_recipe().model_dump()
    data["stages"] = data["stages"][::-1]
    with pytest.raises(ValueError, match="no earlier stage makes"):
        Recipe.model_validate(data)


def test_stages_have_names_of_their_own() -> None:
    data = tiny_recipe().model_dump()
    data["stages"][1]["name"] = "copying"
    with pytest.raises(ValueError, match="two stages are called 'copying'"):
        Recipe.model_validate(data)


def test_shares_ramp_and_the_rate_warms_up_and_decays() -> None:
    stage = Stage.model_validate(
        {
            "name": "s", "tokens": 1000, "batch_tokens": 1, "lr": 1, "warmup_tokens": 100, "decay": 0.5,
            "mix": {"actor": 1.0}, "mix_at_start": {"copy": 1.0}, "ramp_tokens": 100,
        }
    )  # fmt: skip
    assert stage.shares(0) == {"actor": 0.0, "copy": 1.0}
    assert stage.shares(50) == {"actor": 0.5, "copy": 0.5}
    assert stage.shares(200) == {"actor": 1.0, "copy": 0.0}
    assert stage.lr_scale(0) == pytest.approx(0.01)
    assert stage.lr_scale(300) == 1.0
    assert stage.lr_scale(750) == pytest.approx(0.5)
    assert stage.lr_scale(1000) == 0.0


def test_the_tokenizer_encodes_any_text_and_has_a_token_per_word_of_its_world(run: Bootstrap) -> None:
    tokenizer = run.tokenizer()
    text = 'Grüße, 日本! "{x}" [[start]]\n<<T>> a  b\t*c* 😀'
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokenize("Tell me about the") == ["Tell", "Ġme", "Ġabout", "Ġthe"]


def test_edited_tokens_of_a_refinement_weigh_most(run: Bootstrap) -> None:
    tasks = Tasks(run.tokenizer(), load_templates("compact"))
    samples = (refiner_sample("train", index, tasks.templates) for index in range(100))
    index = next(i for i, sample in enumerate(samples) if sample.source and "double" in sample.conversation[0].text)
    ids, weights = tasks.row("refiner", "train", index)
    heavy = [tasks.tokenizer.decode([ids[place]]).strip() for place, weight in enumerate(weights) if weight > 1]
    assert '"' in heavy
    assert len(heavy) <= 6
    assert {0.0, 1.0} < set(weights)


def test_muon_steps_are_close_to_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((16, 8), (8, 16)):
        singular = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert 0.6 < float(singular.min()) <= float(singular.max()) < 1.3


def test_a_finished_run_is_not_trained_again(run: Bootstrap) -> None:
    heard: list[str] = []
    progress = run.run(lambda stage, p, figures: heard.append(stage.name))
    assert heard == []
    assert [p.tokens >= stage.tokens for p, stage in zip(progress.values(), run.recipe.stages, strict=True)] == [
        True
    ] * 3


def test_an_interrupted_run_ends_as_an_uninterrupted_one(run: Bootstrap, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def interrupt(*args: object) -> None:
        raise Stop

    again = Bootstrap(run.recipe, tmp_path, probe_size=4, save_every_s=0)
    for _ in range(3):
        with pytest.raises(Stop):
            again.run(interrupt)
    again.run(lambda stage, progress, figures: None)
    for name in ("copying", "both", "own"):
        one, other = load_checkpoint(run.folder / f"{name}.pt"), load_checkpoint(again.folder / f"{name}.pt")
        assert one is not None
        assert other is not None
        for key, weight in one[1].items():
            assert torch.equal(weight, other[1][key]), key


def test_a_run_killed_while_writing_an_answer_writes_it_again(run: Bootstrap, tmp_path: Path) -> None:
    answers = run.folder / "own_answers.jsonl"
    again = Bootstrap(run.recipe, tmp_path, probe_size=4)
    shutil.copytree(run.folder, again.folder, dirs_exist_ok=True)
    (again.folder / "own.pt").unlink()
    whole = answers.read_bytes()
    (again.folder / answers.name).write_bytes(whole[:-10])
    again.run(lambda *_: None)
    assert (again.folder / answers.name).read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 4}, "seed was 3, is 4"),
        ({"templates": "default"}, 'templates was "compact", is "default"'),
        ({"lr": 2e-3}, r"stages\.both\.lr was 0\.001, is 0\.002"),
    ],
)
def test_a_run_is_not_resumed_with_another_recipe(run: Bootstrap, change: dict[str, object], says: str) -> None:
    recipe = run.recipe
    if "lr" in change:
        copying, both, own = recipe.stages
        change = {"stages": (copying, both.model_copy(update=change), own)}
    other = Bootstrap(recipe.model_copy(update=change), run.folder)
    with pytest.raises(ConfigError, match=f"{says}. Give another --out"):
        other.run(lambda *_: None)


def test_two_processes_do_not_train_in_one_folder(run: Bootstrap) -> None:
    with folder_lock(run.folder), pytest.raises(DataError, match="another process is using it"):
        run.run(lambda *_: None)


def test_an_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=r"out: cannot be written .* give another --out"):
        Bootstrap(tiny_recipe(), tmp_path / "out").run(lambda *_: None)


async def test_the_shipped_pair_is_complete_and_the_engine_serves_it(run: Bootstrap, tmp_path: Path) -> None:
    ship_pair(run, run.run(lambda *args: None), tmp_path)
    for role in ("actor", "refiner"):
        names = {file.name for file in (tmp_path / role).iterdir()}
        assert {"model.safetensors", "tokenizer.json", "README.md", "training_log.json", "training_curves.svg"} <= names
    engine = LocalEngine(tmp_path / "actor")
    completion = await LocalBackend(engine, "m").complete([Message("user", "Hi")], Sampling(max_tokens=3))
    engine.close()
    assert completion.usage.completion_tokens <= 3
