"""The manifest of a run, `run.json`: its recipe, and the models, prompts, versions and code it started with.

`spar train run --recipe RUN/run.json` repeats the run; `differences` lists what has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spar_core.errors import DataError
from spar_core.validation import format_validation_error
from spar_training.runs.recipe import Recipe
from spar_training.runs.start import prompts_file, start_pair
from spar_training.storage.provenance import code_revision, file_digest, parent_of, versions

Manifest = dict[str, Any]


def manifest_of(recipe: Recipe) -> Manifest:
    """The manifest of a run of the recipe that starts now.

    Raises:
        ConfigError: a model or the prompts' file is missing.
    """
    return {
        "recipe": recipe.model_dump(mode="json"),
        "start": inputs_of(recipe),
        "versions": versions(),
        "code": code_revision(),
    }


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; keys that are newer than its recipe get their defaults.

    Raises:
        DataError: it is damaged.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(manifest["recipe"])
    except ValidationError as error:
        problem = format_validation_error(error, whole="recipe", model=Recipe)
        raise DataError(f"{path}: its recipe is not valid in this version: {problem}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
    return {**manifest, "recipe": recipe.model_dump(mode="json")}


def differences(before: Mapping[str, Any], chosen: Recipe | None) -> Iterator[str]:
    """What changed since the manifest was written, one line each; it does not have to change the results.

    With `chosen`, the recipe that is run now, its models and prompts are rehashed too, which can take minutes.

    Raises:
        ConfigError: a model or the prompts' file is missing.
    """
    installed, code = versions(), code_revision()
    for name, version in before["versions"].items():
        if installed.get(name) != version:
            yield f"{name} was {version}, is {installed.get(name, 'not installed')}"
    if before["code"] != code:
        yield f"the code was at {before['code']}, is at {code}"
    if chosen is None or "start" not in before:
        return
    now = inputs_of(chosen)
    for name, was in before["start"].items():
        if was.get("sha256") != now.get(name, {}).get("sha256"):
            yield f"{name}: {was.get('model') or was.get('file')} has changed"


def inputs_of(recipe: Recipe) -> dict[str, dict[str, str]]:
    """The models and prompts that a run of the recipe starts with, by digest.

    Raises:
        ConfigError: one of them is missing.
    """
    pair = start_pair(recipe)
    inputs = {"actor": parent_of(str(pair.actor)), "refiner": parent_of(str(pair.refiner))}
    if file := prompts_file(recipe):
        inputs["prompts"] = {"file": str(file), "sha256": file_digest(file)}
    return inputs
