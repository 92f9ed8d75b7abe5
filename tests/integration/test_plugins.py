"""A third party's package adds one variant of each kind, and every part of the project uses it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_core.types import Message, Sampling
from spar_training.methods import method_of
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import load_recipe
from tests.support.pairs import refiner_script
from tests.support.plugins import install_plugin_package
from tests.support.scripted_stages import ScriptedExecutor

SETTINGS = """
model = "pair"
templates = "compact"

[actor]
backend = "acme"
options = {draft = "a plain draft of 3", refined = "better answer"}

[refine]
algorithm = "acme_pairs"
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of processes that have the package installed."""
    target = install_plugin_package(tmp_path_factory.mktemp("installed"))
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(target), *filter(None, sys.path)])}


def spar(environment: dict[str, str], *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spar_server.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def url(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`spar serve` on the package's backend, searching by its algorithm."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "spar.toml").write_text(SETTINGS)
    server = subprocess.Popen(
        [sys.executable, "-m", "spar_server.cli", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"SPAR_ACCESS_LOG": "false"},
        cwd=folder,
    )
    assert server.stdout is not None
    try:
        ready = re.match(r"SPaR Server is ready on (\S+)", server.stdout.readline())
        assert ready
        yield ready[1]
    finally:
        server.kill()
        server.communicate()


def chat(url: str, **fields: Any) -> httpx.Response:
    body = {"model": "pair", "messages": [{"role": "user", "content": "Write."}], **fields}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)


def test_the_server_answers_by_a_packages_backend_algorithm_and_check(url: str) -> None:
    refine = {"checks": [{"id": "acme:no_digits"}], "trace": "full"}
    answer = chat(url, refine_budget=6, refine=refine).json()
    assert answer["choices"][0]["message"]["content"] == "better answer"
    refinement = answer["usage"]["refinement"]
    assert (refinement["algorithm"], refinement["accepted"], refinement["nodes"]) == ("acme_pairs", True, 2)
    assert "the digits 3" in json.dumps(answer["spar"])


def test_a_request_may_name_any_registered_algorithm_and_an_unknown_one_is_refused_with_all_names(url: str) -> None:
    assert chat(url, refine_budget=2, refine={"algorithm": "bfs"}).status_code == 200
    refused = chat(url, refine_budget=2, refine={"algorithm": "acme_pears"})
    assert refused.status_code == 400
    assert "did you mean 'acme_pairs'? known: 'bfs', " in refused.json()["error"]["message"]
    schema = httpx.get(f"{url}/openapi.json").text
    assert "acme_pairs" in schema


def test_the_command_line_has_a_packages_command(environment: dict[str, str], tmp_path: Path) -> None:
    assert spar(environment, "acme", "Ann", cwd=tmp_path).stdout == "Hello Ann\n"
    assert "Greet somebody." in spar(environment, "--help", cwd=tmp_path).stdout


def test_settings_refuse_options_that_a_packages_backend_does_not_take(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "spar.toml").write_text('[actor]\nbackend = "acme"\noptions = {temperature = 1}\n')
    refused = spar(environment, "serve", "--port", "0", cwd=tmp_path)
    assert refused.returncode == 2
    assert "backend 'acme': its options are not accepted" in refused.stderr
    (tmp_path / "spar.toml").write_text('[actor]\nbackend = "acne"\n')
    assert "no backend 'acne'; did you mean 'acme'?" in spar(environment, "serve", "--check", cwd=tmp_path).stderr


def test_a_bench_compares_a_packages_algorithm_and_reports_it(
    environment: dict[str, str], url: str, tmp_path: Path
) -> None:
    small = ["--budgets", "0,2", "--best-of", "2", "--best-of-all", "2", "--prompts", "2", "--seeds", "1"]
    small += ["--timed", "0", "--no-ablations", "--no-oracles", "--templates", "compact"]
    at = ["--url", f"{url}/v1", "--model", "pair", "--methods", "bfs,acme_pairs,best_of_n_all"]
    done = spar(environment, "bench", "scaling", *small, *at, "--out", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acme pairs" in (tmp_path / "report.md").read_text()
    assert "acme_pairs@2/strict" in json.loads((tmp_path / "result.json").read_text())["figures"]


async def test_a_training_run_uses_a_packages_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed").mkdir()
    monkeypatch.syspath_prepend(str(install_plugin_package(tmp_path / "installed")))
    recipe_file = tmp_path / "acme.yaml"
    recipe_file.write_text(
        "name: acme\ntemplates: compact\nprompts: {source: world, per_iteration: 3}\n"
        "method: {kind: acme_first_answers, answers: 2}\n"
    )
    recipe = load_recipe(str(recipe_file))
    iteration = open_run(tmp_path / "run", recipe).iteration(1)

    def draft(messages: Sequence[Message], sampling: Sampling) -> str:
        return "a plain draft"

    await ScriptedExecutor(draft, refiner_script).run_stages(recipe, iteration)
    rows = method_of(recipe).training_data(iteration).rows["actor"]
    assert [row["answers"] for row in rows] == [("a plain draft", "a plain draft")] * 3
