"""A whole study over the real pair, as small as it can be: two arms, one seed, one iteration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from spar_training.storage.files import read_rows
from spar_training.studies.self_play.command import run

pytestmark = [pytest.mark.real, pytest.mark.slow]

JOB = {"learning_rate": 1e-4, "batch_size": 8, "max_length": 512, "dtype": "fp32", "max_steps": 1, "threads": 1}
SHORT = {"max_tokens": 160}
RECIPE = {
    "name": "small",
    "templates": "compact",
    "iterations": 1,
    "prompts": {"source": "world", "per_iteration": 40},
    "sample": {**SHORT, "responses": 3},
    "judge": {**SHORT, "votes": 3},
    "search": {**SHORT, "budget": 6},
    "training": {"actor": JOB, "refiner": JOB},
    "evaluation": {"benchmark": "world", "split": "validation", "prompts": 6, "judged": 4, "budget": 2},
}
STUDY = {
    "name": "tiny",
    "recipe": "small.yaml",
    "seeds": [1],
    "reference": "refined",
    "arms": {
        "refined": {"label": "SPaR"},
        "sampled": {
            "label": "no refinement",
            "equal_pairs_to": "refined",
            "recipe": {"actor_data": {"pairs": "sampled"}, "evaluation": {"budget": 0}},
        },
    },
}


def test_a_study_runs_its_arms_from_what_they_share_and_reports_on_them(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    out = tmp_path / "out"

    def go(*, report_only: bool) -> str:
        run(
            study=str(tmp_path / "tiny.yaml"),
            out=out,
            docs=tmp_path / "docs",
            report_only=report_only,
            command="spar bench self-play",
        )
        return (tmp_path / "docs/self-play.md").read_text()

    page = go(report_only=False)
    for heading in ("Iteration by iteration", "Refined against sampled pairs", "What each part is worth"):
        assert f"## {heading}" in page
    assert "What is missing" not in page
    steps = {arm: json.loads((out / f"{arm}-1/iteration-1/steps.json").read_text()) for arm in ("refined", "sampled")}
    assert steps["sampled"]["judge"] == {**steps["refined"]["judge"], "seconds": 0.0}
    assert "search" not in steps["sampled"]
    assert 0 < steps["sampled"]["data"]["pairs"] <= steps["refined"]["data"]["pairs"]
    assert not (out / "sampled-1/iteration-1/evaluation/searched.jsonl").exists()
    measured = out / "refined-1/iteration-1/evaluation"
    rows = {name: len(list(read_rows(measured / f"{name}.jsonl"))) for name in ("drafts", "judged", "searched")}
    assert rows == {"drafts": 6, "judged": 4, "searched": 6}
    assert go(report_only=True) == page
