"""Training methods: those of this package, and those that other packages add."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.types import Message, Sampling
from spar_training.methods import METHODS, method_of
from spar_training.methods.training import job_for
from spar_training.runs.folder import Iteration, open_run
from spar_training.runs.recipe import Recipe, load_recipe
from tests.support.pairs import refiner_script
from tests.support.scripted_stages import ScriptedExecutor

COMMON = {"name": "r", "templates": "compact", "in_flight": 1, "prompts": {"source": "world", "per_iteration": 3}}
# What a package with a method of its own consists of.
PACKAGE = '''
from typing import Literal

from spar_training.methods.base import StageItems, TrainingData, TrainingSet
from spar_training.methods.judged_samples import JudgedSamples, stage_rows
from spar_training.methods.settings import MethodSettings
from spar_training.stages.sample import Sample


class ImitateSettings(MethodSettings):
    kind: Literal["imitate"] = "imitate"
    answers: int = 1


class Imitate(JudgedSamples):
    """Fine-tunes both models on the actor's first answers."""

    settings = ImitateSettings
    stage_types = (Sample,)
    data_keys = frozenset({"actor_data"})
    roles = {role: TrainingSet("sft", "answers.jsonl", "no answer") for role in ("actor", "refiner")}

    def stages(self, iteration):
        yield self.sample_stage(iteration)

    def training_data(self, iteration):
        count = self.recipe.method.answers
        rows = [{"id": item.id, "answers": item.responses[:count]} for item in self.sampled(iteration)]
        return TrainingData({"actor": rows, "refiner": rows}, {"rows": len(rows)}, {})
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is installed with the method `imitate`."""
    site = tmp_path / "site"
    metadata = site / "imitation-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "imitation.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: imitation\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[spar.methods]\nimitate = imitation:Imitate\nbroken = imitation:No\n")
    monkeypatch.syspath_prepend(str(site))


def draft(messages: Sequence[Message], sampling: Sampling) -> str:
    return "a plain draft"


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_of_this_package_is_selected_by_its_kind(kind: str) -> None:
    recipe = Recipe.model_validate({**COMMON, "method": {"kind": kind}})
    method = method_of(recipe)
    assert recipe.method == method.settings()
    assert set(method.roles) == {"actor", "refiner"}


@pytest.mark.usefixtures("package")
async def test_a_method_of_another_package_runs_from_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({**COMMON, "method": {"kind": "imitate", "answers": 2}}))
    recipe = load_recipe(str(file))
    iteration = open_run(tmp_path / "run", recipe).iteration(1)
    executor = ScriptedExecutor(draft, refiner_script)
    await executor.run_stages(recipe, iteration)
    assert executor.opened == ["actor"]
    data = method_of(recipe).training_data(iteration)
    assert [row["answers"] for row in data.rows["actor"]] == [("a plain draft", "a plain draft")] * 3
    job = job_for(
        recipe.model_copy(update={"training": recipe.training.model_copy(update={"actor": {"learning_rate": 1e-5}})}),
        Iteration(1, tmp_path),
        "actor",
        start=tmp_path,
    )
    assert (job.kind, job.data) == ("sft", (tmp_path / "answers.jsonl",))
    assert recipe.fingerprint_fields()["method"] == {"kind": "imitate", "answers": 2}


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("method", "error"),
    [
        ({"kind": "mine"}, r"method: kind: there is no method 'mine'; .*known: 'spar', .*'broken', 'imitate'"),
        ({"kind": "broken"}, r"method: kind: the package 'imitation': its method 'broken' cannot be loaded"),
        ({"kind": "imitate", "answer": 2}, r"method: answer: there is no such key; did you mean answers\?"),
        ({"kind": "spar", "answers": 2}, r"method: answers: there is no such key"),
        ("spar", r"method: must be a mapping with a kind, such as {kind: spar}"),
    ],
)
def test_an_invalid_method_is_named(method: object, error: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({**COMMON, "method": method}))
    with pytest.raises(ConfigError, match=error):
        load_recipe(str(file))
