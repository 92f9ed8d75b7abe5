"""What made a result: versions, code revision, and digests of models and data."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from spar_core.model_folder import weights_sha256

_LIBRARIES: Final = (
    "spar-server",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "vllm",
    "lm-eval",
    "langdetect",
)


def versions() -> dict[str, str]:
    """The versions of Python and of the installed libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_revision() -> str | None:
    """The commit of the checkout that this code runs from, with `+` if files differ; None outside a checkout."""
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
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(data: object) -> str:
    """The SHA-256 of plain JSON data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def parent_of(model: str) -> dict[str, str]:
    """A model for a lineage: its name, and the digest of its weights if it is a folder."""
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model}
    return {"model": model, "sha256": weights_sha256(folder)}
