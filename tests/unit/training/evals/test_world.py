"""A pair's evaluation on held-out prompts of the small world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import ConfigError
from spar_core.model_folder import shipped_pair
from spar_core.prompts import load_templates
from spar_server.cli.main import app
from spar_training.evals.world.evaluation import WorldEval, figures


def evaluate(*options: str) -> None:
    done = CliRunner().invoke(app, ["eval", "world", "--prompts", "2", "--budget", "1", *options])
    if done.exception:
        raise done.exception


@pytest.mark.real
def test_the_tiny_pair_is_measured_by_its_name(tmp_path: Path) -> None:
    out = tmp_path / "world.json"
    evaluate("--pair", "tiny", "--out", str(out))
    result = json.loads(out.read_text())
    assert [item["id"] for item in result["items"]] == ["0", "1"]
    assert all(item["draft"] and item["answer"] for item in result["items"])
    assert result["models"]["actor"]["folder"] == str(shipped_pair() / "actor")


def test_a_folder_without_whole_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="actor holds no model"):
        evaluate("--pair", str(tmp_path))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    for role in ("actor", "refiner"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "adapter_config.json").write_text("{}")
    (tmp_path / "pair.json").write_text(json.dumps({"base": str(tmp_path / "base")}))
    with pytest.raises(ConfigError, match="actor is an adapter; this evaluation needs whole models"):
        evaluate("--pair", str(tmp_path))


async def test_an_abstention_on_a_bad_answer_counts_as_wrong() -> None:
    evaluation = WorldEval(
        actor=ScriptedBackend(always("")),
        refiner=ScriptedBackend(always("I cannot tell.")),
        templates=load_templates("compact"),
        split="validation",
        prompts=3,
        budget=0,
        seed=0,
    )
    found = figures(await evaluation.run(lambda done: None))
    assert (found.parse_failures.mean, found.draft_strict.mean) == (1, 0)
    assert (found.judge_on_bad.mean, found.judge_on_bad.n) == (0, 3)
