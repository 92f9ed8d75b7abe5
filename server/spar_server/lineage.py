"""What a model in a folder tells of itself: its weights' digest, and the recipe and iteration that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from spar_core.weights import weights_sha256

# Of `lineage.json`, which also tells of paths and data: what anybody may know.
_TOLD: Final = ("name", "sha256", "seed", "iteration")


def lineage_of(folder: Path) -> dict[str, Any]:
    """`{"sha256", "recipe"}`, as a training's `lineage.json` gives a parent's; no recipe where none is told."""
    told: dict[str, Any] = {"sha256": weights_sha256(folder)}
    recipe = _recipe(folder / "lineage.json")
    return {**told, "recipe": {key: recipe[key] for key in _TOLD if key in recipe}} if recipe else told


def _recipe(file: Path) -> dict[str, Any] | None:
    try:
        lineage = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Serving needs no lineage: a damaged one is as good as none.
        return None
    recipe = lineage.get("recipe") if isinstance(lineage, dict) else None
    return recipe if isinstance(recipe, dict) else None
