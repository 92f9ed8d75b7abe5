"""The committed reference pages match the code."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = runpy.run_path(str(FOLDER / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_matches_the_code(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run `make reference`"
