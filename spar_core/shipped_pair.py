"""The pair of small models that comes with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped_pair() -> Path:
    """Its folder, with `actor/` and `refiner/` in it."""
    return Path(str(files("spar_core"))) / "models"
