"""The former names of renamed options: accepted with a warning, and hidden from the help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spar_training.bootstrap.verifiers import command as bootstrap_command
from spar_training.cli.renamed_options import RENAMED
from spar_training.cli.train import app
from spar_training.distill import command as distill_command
from spar_training.prompt_evolution import command as evolve_command


def record_calls(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(module, "run", lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stderr


def test_evolve_takes_the_former_names_as_the_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record_calls(monkeypatch, evolve_command)
    common = ("evolve", "seeds.jsonl", "--model", "m", "--out", "out")
    warnings = run(*common, "--against", "a", "--against", "b", "--near=0.5", "--leak", "0.4", "--key-env", "KEY")
    run(
        *common,
        *("--benchmark", "a", "--benchmark", "b", "--near-duplicate-threshold=0.5"),
        *("--contamination-threshold", "0.4", "--api-key-env", "KEY"),
    )
    assert calls[0] == calls[1]
    settings = calls[0][0][0]
    assert settings.benchmarks == (Path("a"), Path("b"))
    assert (settings.filters.near_duplicate_threshold, settings.filters.contamination_threshold) == (0.5, 0.4)
    assert calls[0][1]["key_env"] == "KEY"
    for old, new in RENAMED.items():
        assert f"{old} is deprecated; use {new}" in warnings


def test_distill_takes_the_former_name_of_the_key_option(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record_calls(monkeypatch, distill_command)
    run("distill", "prompts.jsonl", "--model", "m", "--out", "out", "--key-env", "KEY")
    run("distill", "prompts.jsonl", "--model", "m", "--out", "out", "--api-key-env", "KEY")
    assert calls[0] == calls[1]
    assert calls[0][1]["key_env"] == "KEY"


def test_bootstrap_takes_the_former_name_of_the_benchmark_option(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record_calls(monkeypatch, bootstrap_command)
    run("bootstrap", "--base", "m", "--seeds", "s", "--against", "a")
    run("bootstrap", "--base", "m", "--seeds", "s", "--benchmark", "a")
    assert calls[0] == calls[1]


def test_check_leaks_takes_the_former_names(tmp_path: Path) -> None:
    for name, text in (("prompts", "Name three rivers of France."), ("benchmark", "Describe a lamp in two sentences.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": text}) + "\n", encoding="utf-8")
    files = (str(tmp_path / "prompts.jsonl"), str(tmp_path / "benchmark.jsonl"))
    run("check-leaks", files[0], "--against", files[1], "--leak", "0.9")
    run("check-leaks", files[0], "--benchmark", files[1], "--contamination-threshold", "0.9")


@pytest.mark.parametrize("command", ["bootstrap", "evolve", "check-leaks", "distill"])
def test_the_help_shows_only_the_new_names(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output.split()
    assert not set(RENAMED) & set(shown)
    assert set(RENAMED.values()) & set(shown)


def test_arguments_after_a_double_dash_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record_calls(monkeypatch, evolve_command)
    run("evolve", "--model", "m", "--out", "out", "--", "--near")
    assert calls[0][0][0].seeds == (Path("--near"),)
