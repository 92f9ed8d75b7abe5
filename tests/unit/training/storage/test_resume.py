"""The settings that a folder's work was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar_core.errors import ConfigError, DataError
from spar_training.storage.resume import check_settings


def test_work_resumes_with_the_settings_it_was_started_with_only(tmp_path: Path) -> None:
    path = tmp_path / "work" / "settings.json"
    check_settings(path, {"seed": 1, "models": ("a", "b")})
    check_settings(path, {"seed": 1, "models": ("a", "b")})
    with pytest.raises(ConfigError, match="other settings: seed was 1, is 2"):
        check_settings(path, {"seed": 2, "models": ("a", "b")})


@pytest.mark.parametrize("damaged", ["[]", "3", "null", '{"seed": '])
def test_damaged_settings_are_named_by_their_file(damaged: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(damaged)
    with pytest.raises(DataError, match=r"settings\.json: damaged"):
        check_settings(path, {"seed": 1})
