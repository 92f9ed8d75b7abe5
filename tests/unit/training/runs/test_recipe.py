"""The recipes that ship, and how a recipe is read and changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from spar_core.errors import ConfigError, DataError
from spar_core.model_folder import shipped_pair
from spar_training.methods.training import job_for, launcher_of
from spar_training.runs.folder import Iteration, open_run
from spar_training.runs.prompts import evaluation_prompts
from spar_training.runs.recipe import Recipe, load_recipe, shipped_recipes
from spar_training.runs.start import start_pair
from spar_training.storage.files import write_rows
from spar_training.storage.provenance import data_digest

BACKBONES = ("glm-4-9b", "llama-3-70b", "llama-3-8b", "mistral-7b")
PAPERS = Recipe.model_validate({"name": "p", "prompts": {"source": "file", "file": "p.jsonl", "per_iteration": 10_000}})


def test_a_recipe_ships_for_each_backbone_and_for_the_small_pair() -> None:
    assert shipped_recipes() == [*BACKBONES, "small-pair", "smollm2-135m"]
    assert load_recipe("small-pair").iterations == 3


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_makes_jobs_that_the_trainer_takes(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    actor, refiner = (
        job_for(recipe, Iteration(2, tmp_path), role, start=tmp_path / "before") for role in ("actor", "refiner")
    )
    assert (actor.kind, refiner.kind) == ("dpo", "sft")
    assert actor.recipe is not None
    assert (actor.recipe.name, actor.recipe.iteration) == (name, 2)
    assert actor.recipe.sha256 == data_digest(recipe.fingerprint_fields())
    assert actor.seed != refiner.seed


def test_the_shipped_pairs_lineage_names_the_recipe_that_made_it() -> None:
    lineage = json.loads((shipped_pair() / "actor" / "lineage.json").read_text(encoding="utf-8"))
    assert lineage["recipe"]["sha256"] == data_digest(load_recipe("small-pair").fingerprint_fields())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbones_recipe_has_the_settings_of_the_paper(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    for key in ("iterations", "sample", "judge", "search", "actor_data", "refiner_data"):
        assert getattr(recipe, key) == getattr(PAPERS, key), key
    assert recipe.prompts.per_iteration == 10_000
    actor, refiner = (job_for(recipe, Iteration(1, tmp_path), role, start=tmp_path) for role in ("actor", "refiner"))
    assert (actor.learning_rate, actor.schedule, actor.beta, actor.sft_weight) == (2e-7, "linear", 0.1, 0.1)
    assert (actor.epochs, actor.max_length, actor.lora, actor.dtype) == (1, 2048, None, "bf16")
    assert (refiner.learning_rate, refiner.schedule, refiner.epochs, refiner.max_length) == (2e-6, "constant", 5, 4096)
    assert recipe.paper["ifeval_average"]
    assert recipe.resources.parameters


@pytest.mark.parametrize("name", BACKBONES)
def test_a_launchers_configuration_ships_with_the_recipe(name: str) -> None:
    words = launcher_of(load_recipe(name))
    config = Path(words[words.index("--config_file") + 1])
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["deepspeed_config"]["zero_stage"] == 3
    assert words[-1] == "-m"


def test_each_replica_has_its_own_gpus() -> None:
    serving = load_recipe("llama-3-70b").serving
    assert (serving.replicas, serving.gpus_per_replica) == (2, 4)
    assert serving.environment == {"CUDA_VISIBLE_DEVICES": "{gpus}"}


def test_a_missing_model_is_named_with_the_fix() -> None:
    with pytest.raises(
        ConfigError, match=r"start\.actor: no model in models/llama-3-8b-sft-actor .* --set start\.actor"
    ):
        start_pair(load_recipe("llama-3-8b"))


def test_a_run_that_would_start_from_an_adapter_names_the_command_that_merges_it() -> None:
    adapter = shipped_pair() / "spar-135m" / "actor"
    with pytest.raises(ConfigError, match=r"start\.actor: .* is an adapter.*spar train merge .*spar-135m/actor --out"):
        start_pair(load_recipe("small-pair", [f"start.actor={adapter}"]))


def test_missing_prompts_are_named_before_a_run_starts(tmp_path: Path) -> None:
    recipe = load_recipe(
        "glm-4-9b", ["start.actor=shipped", "start.refiner=shipped", f"prompts.file={tmp_path}/p.jsonl"]
    )
    with pytest.raises(ConfigError, match=r"prompts\.file: no such file"):
        open_run(tmp_path / "run", recipe)
    assert not (tmp_path / "run").exists()


def test_a_change_overrides_the_recipe() -> None:
    changed = load_recipe("small-pair", ["search.budget=6", "training.actor.lora={r: 4}", "prompts.per_iteration=9"])
    assert (changed.search.budget, changed.prompts.per_iteration) == (6, 9)
    assert changed.training.actor["lora"] == {"r": 4}
    assert changed.search.branch == 3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("search.budgets=6", r"^--set search\.budgets=6: search\.budgets: there is no such key; did you mean budget\?"),
        (
            "evaluation.x=6",
            r"evaluation\.x: there is no such key; there are benchmark, file, split, prompts, judged_prompts, budget$",
        ),
        ("prompt.file=p", r"^--set prompt\.file=p: prompt: there is no such key; did you mean prompts\?"),
        (
            "actor_data.max_pairs=[5]",
            r"^--set actor_data\.max_pairs=\[5\]: recipe: .*max_pairs: has 1 numbers for 3",
        ),
        ("prompts.source=file", r"^--set prompts\.source=file: prompts: file: required with source: file"),
        ("budget", "KEY=VALUE"),
        ("seed.of=3", "no such key"),
        ("judge.votes=none", r"^--set judge\.votes=none: judge\.votes: Input should be a valid integer"),
    ],
)
def test_an_invalid_change_is_named(change: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        load_recipe("small-pair", [change])


def test_an_error_in_the_file_is_not_blamed_on_a_change(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nprompts: {source: world, per_iteration: 5, of: 3}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: prompts\.of: there is no such key"):
        load_recipe(str(file), ["search.budget=6"])


def test_a_launcher_with_an_unknown_field_is_named() -> None:
    recipe = load_recipe("small-pair", ["training.launcher=[accelerate, '{configs}/zero3.yaml', -m]"])
    with pytest.raises(ConfigError, match=r"training\.launcher: unknown field 'configs'; the only field is {recipes}"):
        launcher_of(recipe)


def test_a_file_that_is_not_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a shipped recipe"):
        load_recipe("nothing")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="not the manifest of a run"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize("change", ["serving.engine=urls", "serving.urls=[http://there:8000/v1]"])
def test_servers_named_by_url_are_refused_with_the_alternative(change: str) -> None:
    with pytest.raises(ConfigError, match=r"serving: servers cannot .*engine: command.*forwards {port}"):
        load_recipe("small-pair", [change])


def test_a_pair_may_be_measured_on_prompts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "held-out.jsonl"
    check = {"id": "punctuation:no_comma", "kwargs": {}}
    rows = [{"id": f"p{n}", "messages": [{"role": "user", "content": "Hi"}], "checks": [check]} for n in range(4)]
    write_rows(file, rows)
    evaluation = [f"evaluation.file={file}", "evaluation.benchmark=file", "evaluation.prompts=3"]
    recipe = load_recipe("small-pair", evaluation)
    assert [prompt.id for prompt in evaluation_prompts(recipe)] == ["p0", "p1", "p2"]
    assert recipe.evaluation.describe_prompts() == "3 prompts of held-out.jsonl"
    with pytest.raises(DataError, match=r"has 4 prompts; evaluation\.prompts is 5"):
        evaluation_prompts(load_recipe("small-pair", [*evaluation[:2], "evaluation.prompts=5"]))
    write_rows(file, [{**rows[0], "checks": []}, *rows[1:]])
    with pytest.raises(DataError, match=r"'p0'\): has no checks"):
        evaluation_prompts(recipe)
    with pytest.raises(ConfigError, match="required with benchmark: file"):
        load_recipe("small-pair", evaluation[:1])


def test_the_fingerprint_of_a_recipe_without_an_evaluation_file_has_no_such_key() -> None:
    assert "file" not in load_recipe("small-pair").fingerprint_fields()["evaluation"]


OLD_KEYS = {
    "actor_data": {"pairs": "sampled", "most": 5},
    "evaluation": {"judged": 7},
    "training": {"actor": {"cutoff": 9}, "refiner": {"cutoff": 8, "departure_weight": 2.0}},
}
CURRENT_KEYS = {
    "method": {"kind": "sampled"},
    "actor_data": {"max_pairs": 5},
    "evaluation": {"judged_prompts": 7},
    "training": {"actor": {"max_length": 9}, "refiner": {"max_length": 8, "edit_token_weight": 2.0}},
}


def test_deprecated_keys_still_work_and_the_fingerprint_is_the_same() -> None:
    common = {"name": "r", "prompts": {"source": "world", "per_iteration": 5}}
    old = Recipe.model_validate({**common, **OLD_KEYS})
    assert old == Recipe.model_validate({**common, **CURRENT_KEYS})
    fields = old.fingerprint_fields()
    assert fields["actor_data"] == OLD_KEYS["actor_data"]
    assert fields["evaluation"]["judged"] == 7
    assert {role: fields["training"][role] for role in ("actor", "refiner")} == OLD_KEYS["training"]
    assert "method" not in fields


def test_deprecated_keys_may_be_changed_by_their_old_names() -> None:
    changes = ["actor_data.pairs=sampled", "actor_data.most=5", "training.actor.cutoff=9", "evaluation.judged=7"]
    recipe = load_recipe("small-pair", changes)
    assert (recipe.method.kind, recipe.actor_data.max_pairs) == ("sampled", 5)
    assert (recipe.training.actor["max_length"], recipe.evaluation.judged_prompts) == (9, 7)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"actor_data": {"most": 1, "max_pairs": 2}}, "actor_data.most: another name of actor_data.max_pairs"),
        (
            {"actor_data": {"pairs": "sampled"}, "method": {"kind": "spar"}},
            "actor_data.pairs: the former form of",
        ),
        ({"actor_data": {"pairs": "drawn"}}, "actor_data.pairs: must be refined or sampled, is 'drawn'"),
    ],
)
def test_a_setting_by_two_names_is_an_error(values: dict[str, object], error: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    common = {"name": "r", "prompts": {"source": "world", "per_iteration": 5}}
    file.write_text(yaml.safe_dump({**common, **values}))
    with pytest.raises(ConfigError, match=f"mine.yaml: {error}"):
        load_recipe(str(file))
