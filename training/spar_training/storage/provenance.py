"""Which code and which libraries made something."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from spar_core.model_folder import weights_sha256

_LIBRARIES: Final = ("spar-server", "torch", "transformers", "trl", "peft", "accelerate")


def versions() -> dict[str, str]:
    """Versions of Python and of what is installed of the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_revision() -> str | None:
    """The commit of the checkout that this code runs from, `+` behind it where files differ; None outside of one."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def file_digest(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(data: object) -> str:
    """Of plain JSON data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def parent_of(model: str) -> dict[str, str]:
    """A model by what cannot change under its name: its weights' digest for a folder, else the name."""
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model}
    return {"model": model, "sha256": weights_sha256(folder)}
