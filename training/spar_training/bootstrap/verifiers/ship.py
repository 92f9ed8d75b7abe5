"""Publish the adapters of a finished run: small files on top of a base that everybody can download."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, get_args

from spar_core.errors import ConfigError
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe
from spar_training.bootstrap.verifiers.run import Role
from spar_training.storage.files import write_json, write_text
from spar_training.trainers.status import LINEAGE, LOG

_FILES: Final = ("adapter_config.json", "adapter_model.safetensors")
_CARD: Final = """---
base_model: {base}
license: {license}
library_name: peft
tags: [spar, {role}, lora]
---
# {name}: the {role}

{duty}

A LoRA adapter over {base}, trained by `spar train bootstrap --base` without a strong model: on the base's own answers
to prompts with verifiable constraints, true critiques by `spar_core.checks`, and repairs by program.

- Recipe: `{recipe}`, seed {seed}; template set: `{templates}`
- {rows:,} conversations, {steps:,} steps; figures by step: `training_log.json`; job and hashes: `lineage.json`
- Licence: {license}, that of the base, whose weights are not in this folder

{measured}
"""
_DUTIES: Final = {
    "actor": "It answers requests and follows the constraints that they put on the form of the answer.",
    "refiner": "It judges whether an answer meets every constraint, and refines one that does not.",
}
_FIGURES: Final = {
    "actor": {
        "base": {"answers": "the base, all constraints met"},
        "pair": {"answers": "this actor, all constraints met", "searched": "with search"},
    },
    "refiner": {
        "base": {},
        "pair": {
            "judge_balanced": "accuracy on its actor's answers (balanced, 5 votes)",
            "refined": "bad answers fixed by one refinement",
        },
    },
}


def ship_adapters(folder: Path, recipe: VerifierRecipe, out: Path) -> None:
    """Write `actor/`, `refiner/` and `pair.json` of the finished run in `folder` to `out`.

    Raises:
        ConfigError: the trainings of the run are not LoRA, or `out` already holds a model.
    """
    for role in get_args(Role):
        if not (folder / role / "adapter").is_dir():
            raise ConfigError(f"{folder / role}: has no adapter; --ship needs a recipe whose trainings use lora")
        if (out / role).exists():
            raise ConfigError(f"--ship {out}: {role} is there already; give a folder without one")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".ship-", dir=out) as scratch:
        for role in get_args(Role):
            _ship_role(folder, recipe, role, Path(scratch) / role)
        for role in get_args(Role):
            (Path(scratch) / role).rename(out / role)
    served = json.loads((folder / "pair.json").read_text(encoding="utf-8"))
    write_json(out / "pair.json", {**served, "name": recipe.publication.name, "base": recipe.publication.base})


def _ship_role(folder: Path, recipe: VerifierRecipe, role: Role, target: Path) -> None:
    made = folder / role
    target.mkdir()
    for name in _FILES:
        shutil.copyfile(made / "adapter" / name, target / name)
    config = json.loads((target / _FILES[0]).read_text(encoding="utf-8"))
    write_json(target / _FILES[0], {**config, "base_model_name_or_path": recipe.publication.base})
    shutil.copyfile(made / LOG, target / LOG)
    lineage = _portable(json.loads((made / LINEAGE).read_text(encoding="utf-8")), folder, recipe)
    write_json(target / LINEAGE, lineage)
    card = _CARD.format(
        base=recipe.publication.base,
        license=recipe.publication.license,
        role=role,
        name=recipe.publication.name,
        recipe=recipe.name,
        duty=_DUTIES[role],
        seed=recipe.seed,
        templates=recipe.templates,
        rows=lineage["rows"]["trained"],
        steps=lineage["steps"],
        measured=_measured(folder, recipe, role),
    )
    write_text(target / "README.md", card)


def _portable(lineage: dict[str, Any], folder: Path, recipe: VerifierRecipe) -> dict[str, Any]:
    """The lineage with paths relative to the run folder, and the base under its public name."""
    text = json.dumps(lineage).replace(json.dumps(lineage["job"]["model"]), json.dumps(recipe.publication.base))
    for root in (folder.absolute(), folder):
        text = text.replace(f'"{json.dumps(str(root))[1:-1]}/', '"')
    return dict(json.loads(text))


def _measured(folder: Path, recipe: VerifierRecipe, role: Role) -> str:
    figures = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    lines = [
        f"- {label}: {100 * found['mean']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}], n = {found['n']}"
        for column, labels in _FIGURES[role].items()
        for key, label in labels.items()
        if (found := figures[column].get(key))
    ]
    wanted = recipe.validation
    head = f"On {wanted.prompts:,} validation prompts, percent with 95% intervals (search budget {wanted.budget}):\n\n"
    return head + "\n".join(lines)
