"""The lineage of a served model folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from spar_core.model_folder import lineage_of

RECIPE = {"name": "mine", "sha256": "a" * 64, "seed": 1, "iteration": 2}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_lineage_has_the_weights_digest_and_the_recipe_but_no_path(model: Path) -> None:
    sha256 = hashlib.sha256(b"model.safetensors" + b"weights").hexdigest()
    assert lineage_of(model) == {"sha256": sha256}
    lineage = {"job": {"out": "/home/me/run"}, "recipe": {**RECIPE, "path": "/home/me/recipe.yaml"}}
    (model / "lineage.json").write_text(json.dumps(lineage))
    assert lineage_of(model) == {"sha256": sha256, "recipe": RECIPE}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"recipe": null}', "\udcff"])
def test_an_unreadable_lineage_does_not_prevent_serving(model: Path, text: str) -> None:
    (model / "lineage.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert set(lineage_of(model)) == {"sha256"}
