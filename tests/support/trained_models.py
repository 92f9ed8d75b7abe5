"""Folders of trained models, without real weights."""

from __future__ import annotations

from pathlib import Path

from spar_training.storage.files import write_json, write_rows
from spar_training.storage.provenance import file_digest, parent_of


def model(folder: Path) -> Path:
    write_json(folder / "config.json", {})
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    return folder


def trained(folder: Path, parent: Path, data: Path) -> Path:
    """A folder like that of a finished training."""
    write_rows(data, [{"id": "1"}])
    write_json(
        model(folder) / "lineage.json",
        {
            "kind": "dpo",
            "parent": parent_of(str(parent)),
            "data": [{"path": str(data), "sha256": file_digest(data), "rows": 1}],
            "excluded": {"too_long": {"rows": 2, "ids": ["a", "b"]}},
            "job": {"learning_rate": 2e-7},
            "seed": 9,
            "steps": 30,
            "recipe": {"name": "mine", "sha256": "ab" * 32, "seed": 4, "iteration": 2},
            "versions": {"python": "3.11.7", "torch": "2.13.0"},
            "code": "c0de" * 10,
        },
    )
    write_json(folder / "training_log.json", [{"step": 30, "loss": 0.5}])
    return folder
