"""The data stages over servers of their own, and a run made again from its manifest."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.testing

from spar_core.errors import BackendUnavailable
from spar_server.cli.main import app
from spar_training.data.negatives import JudgedItem
from spar_training.data.search_results import Searched
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.inference.server import serve_model
from spar_training.methods.spar import Spar
from spar_training.pipeline.executors.local import LocalExecutor
from spar_training.pipeline.stage import Role
from spar_training.runs.folder import open_run
from spar_training.runs.manifest import differences, read_manifest
from spar_training.runs.recipe import Recipe, load_recipe
from spar_training.runs.start import start_pair
from spar_training.stages.iteration import DataStages

pytestmark = pytest.mark.real

SHORT = {"max_tokens": 160}
SERVE = [sys.executable, "-m", "spar_server.cli", "serve", "--pair", "{model}", "--model", "{name}", "--port", "{port}"]


def recipe(**changes: object) -> Recipe:
    values = {
        "name": "small",
        "seed": 3,
        "templates": "compact",
        "in_flight": 8,
        "prompts": {"source": "world", "per_iteration": 6},
        "sample": {**SHORT, "responses": 2},
        "judge": {**SHORT, "votes": 3},
        "search": {**SHORT, "budget": 3},
    }
    return Recipe.model_validate({**values, **changes})


class Collected(NamedTuple):
    judged: list[JudgedItem]
    searches: list[Searched]


async def collect(folder: Path, chosen: Recipe) -> Collected:
    iteration = open_run(folder, chosen).iteration(1)

    @asynccontextmanager
    async def of(role: Role) -> AsyncIterator[ModelEndpoint]:
        model = start_pair(chosen).of(role)
        async with serve_model(model, chosen.serving, name=f"small-{role}", logs=folder / "logs") as place:
            yield place

    await DataStages(recipe=chosen, iteration=iteration, executor=LocalExecutor(), open_model=of).run()
    method = Spar(chosen)
    return Collected(method.judged(iteration), method.searches(iteration))


def refuses(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


async def test_the_stages_run_over_two_servers_per_model_that_end_with_them(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    serving = {"engine": "command", "command": SERVE, "environment": environment, "replicas": 2}
    found = await collect(tmp_path, recipe(serving=serving))
    steps = json.loads((tmp_path / "iteration-1" / "steps.json").read_text())
    assert (steps["sample"]["items"], steps["sample"]["failed"]) == (6, 0)
    assert steps["judge"]["votes"] == 3 * steps["judge"]["judgements"] > 0
    assert steps["judge"]["votes_without_verdict"] < steps["judge"]["votes"] / 10
    assert len(found.searches) == steps["search"]["items"]
    logs = sorted(file.name for file in (tmp_path / "logs").iterdir())
    assert logs == ["small-actor-0.log", "small-actor-1.log", "small-refiner-0.log", "small-refiner-1.log"]
    for log in (tmp_path / "logs").iterdir():
        ready = re.search(r"ready on http://127\.0\.0\.1:(\d+) with the model small-(actor|refiner)", log.read_text())
        assert ready is not None
        assert refuses(int(ready[1]))


async def test_a_server_that_cannot_load_its_model_is_reported_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    chosen = recipe(serving={"engine": "command", "command": SERVE, "environment": environment})
    with pytest.raises(BackendUnavailable, match=r"ended with 2 before it was ready\n(.*\n)*.*holds no model"):
        async with serve_model(tmp_path / "broken", chosen.serving, name="actor", logs=tmp_path / "logs"):
            pytest.fail("it was not ready")


async def test_a_run_that_is_repeated_from_its_manifest_has_the_same_bytes(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    await collect(first, recipe(prompts={"source": "world", "per_iteration": 4}))
    await collect(again, load_recipe(str(first / "run.json")))
    for name in ("prompts", "samples", "judgements", "searches"):
        file = f"iteration-1/{name}.jsonl"
        assert (first / file).read_bytes() == (again / file).read_bytes(), name
    manifest = read_manifest(first / "run.json")
    assert list(differences(manifest, load_recipe(str(first)))) == []
    changed = {**manifest["versions"], "torch": "0.1"}
    start = {**manifest["start"], "actor": {"model": "shipped", "sha256": "0"}}
    changes = list(differences({**manifest, "versions": changed, "start": start}, load_recipe(str(first))))
    assert changes[0].startswith("torch was 0.1, is ")
    assert changes[1:] == ["actor: shipped has changed"]


def test_show_prints_an_unfinished_run(tmp_path: Path) -> None:
    open_run(tmp_path, recipe())
    result = typer.testing.CliRunner().invoke(app, ["train", "show", str(tmp_path)])
    assert result.exit_code == 0, result.exception
    assert "recipe" in result.stdout
