"""The interference experiment with the real actor: a few pairs and two steps, stopped and resumed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_training.reports.result import read_result
from spar_training.storage.files import read_rows
from spar_training.studies.interference.command import run
from spar_training.studies.interference.recipe import load_experiment
from spar_training.studies.interference.report import sections

pytestmark = pytest.mark.real

JOB = {"learning_rate": 1e-4, "batch_size": 4, "max_length": 256, "dtype": "fp32"}


def experiment(folder: Path, **changes: Any) -> str:
    """A small experiment with the story task; `changes` override keys of its preference settings."""
    preference = {"prompts": 16, "tries": 2, "pairs": 8, "steps": [1, 2], "job": JOB}
    story = {
        "sampling": {"max_tokens": 64},
        "start": {"rows": 8, "job": {**JOB, "max_steps": 1}},
        "preference": {**preference, **changes},
    }
    file = folder / "experiment.yaml"
    evaluation = {"split": "validation", "prompts": 6, "samples": 2}
    file.write_text(yaml.safe_dump({"name": "small", "seeds": 1, "tasks": {"story": story}, "evaluation": evaluation}))
    return str(file)


@pytest.mark.slow
def test_both_arms_are_trained_measured_and_reported_and_a_run_resumes(tmp_path: Path) -> None:
    recipe, out = experiment(tmp_path), tmp_path / "out"
    run(recipe=recipe, split=None, out=out, console=Console(file=StringIO()))
    figures = read_result(out / "result.json").figures
    for what in ("start", "refined/1", "refined/2", "interfering/2", "refined - start", "refined - interfering"):
        assert f"story/both/{what}" in figures
    assert "story/margin/interfering/2" in figures
    items = read_result(out / "result.json").items
    assert len(items) == (1 + 2 * 2) * 6
    assert all(len(item["texts"]) == len(item["both"]) == 2 for item in items)
    arms = [list(read_rows(out / f"story/pairs/{arm}-0.jsonl")) for arm in ("refined", "interfering")]
    assert [row["rejected"] for row in arms[0]] == [row["rejected"] for row in arms[1]]
    (section,) = sections(out)
    assert "a story between two sentences" in section.heading
    assert "story between two sentences" in (out / "report.html").read_text(encoding="utf-8").lower()
    first = (out / "result.json").read_bytes()
    weights = out / "story" / "refined-0" / "steps" / "2" / "model.safetensors"
    # The last step's weights are the finished model's.
    assert weights.read_bytes() == (out / "story" / "refined-0" / "model.safetensors").read_bytes()
    assert weights.read_bytes() != (out / "story" / "refined-0" / "steps" / "1" / "model.safetensors").read_bytes()
    # Resumed, it repeats only what is missing.
    trained = weights.stat().st_mtime_ns
    (out / "story" / "measured" / "refined-0-2.jsonl").unlink()
    (out / "result.json").unlink()
    run(recipe=recipe, split=None, out=out, console=Console(file=StringIO()))
    assert (out / "result.json").read_bytes() == first
    assert weights.stat().st_mtime_ns == trained
    with pytest.raises(ConfigError, match="holds work with other settings"):
        run(recipe=recipe, split="held_out", out=out, console=Console(file=StringIO()))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"job": {**JOB, "learning_rat": 1}}, r"tasks\.story\.preference\.job: learning_rat"),
        ({"steps": [2, 1]}, r"tasks\.story\.preference\.steps: .*must be in ascending order"),
        ({"pair": 3}, r"tasks\.story\.preference\.pair: "),
    ],
)
def test_an_invalid_key_is_reported_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], error: str
) -> None:
    with pytest.raises(ConfigError, match=error):
        run(recipe=experiment(tmp_path, **changes), split=None, out=tmp_path / "out", console=Console(file=StringIO()))
    assert not (tmp_path / "out" / "story").exists()


def test_the_error_on_an_unknown_experiment_or_split_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither a shipped experiment \(small-pair\) nor a file"):
        load_experiment("nothing")
    with pytest.raises(ConfigError, match=r"--split test: choose one of train, validation, held_out"):
        run(recipe="small-pair", split="test", out=tmp_path / "out", console=Console(file=StringIO()))
    with pytest.raises(DataError, match="no such file"):
        sections(tmp_path)
    assert load_experiment("small-pair").seeds >= 3
