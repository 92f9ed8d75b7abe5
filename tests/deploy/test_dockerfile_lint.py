"""The Dockerfile in the eyes of hadolint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.deployment import DOCKERFILE


def test_hadolint_finds_nothing() -> None:
    command = [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
