"""The peers' environments, one each, which are installed from PyPI when a benchmark first needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ENVIRONMENTS: Final = Path(__file__).parents[2] / ".venv-bench"
PACKAGES: Final = {"litellm": "litellm[proxy]", "optillm": "optillm==0.4.0", "its-hub": "its-hub[lm]==1.2.0"}


def installed(name: str) -> Path:
    """The folder of a peer's programs; installs the peer if necessary."""
    programs = ENVIRONMENTS / name / "bin"
    ready = ENVIRONMENTS / name / "ready"
    if not ready.exists():
        print(f"Installing {PACKAGES[name]} into {ENVIRONMENTS / name}, once.", flush=True)
        _make(name)
        # pip takes over half an hour to resolve OptiLLM's requirements.
        uv = [_uv(), "pip", "install", "--quiet", "--link-mode", "copy", "--python", programs / "python"]
        subprocess.run([*uv, PACKAGES[name]], check=True)
        ready.touch()
    return programs


def _uv() -> Path:
    program = ENVIRONMENTS / "tools" / "bin" / "uv"
    if not program.exists():
        _make("tools")
        subprocess.run([program.with_name("python"), "-m", "pip", "install", "--quiet", "uv"], check=True)
    return program


def _make(name: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / name], check=True)
