"""The folder of the real data sets for tests that read them: `$SPAR_DATA`, or `shared/data` next to the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[3] / "shared" / "data"


def data_set(name: str) -> Path:
    """The folder of a data set; skips the test if it is missing."""
    folder = Path(os.environ.get("SPAR_DATA", _BESIDE)) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set SPAR_DATA to the folder of the data sets")
    return folder
