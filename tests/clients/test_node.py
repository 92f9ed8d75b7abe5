"""The clients for Node: their own tests, in `node/`, against the same server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.obedient import RETRY_AFTER_S, WEATHER

HERE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `node/` with the packages of its lock file."""
    folder = tmp_path_factory.mktemp("clients") / "node"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=240)
    return folder


@pytest.mark.parametrize("tests", sorted(path.name for path in HERE.glob("*.test.js")))
def test_a_node_client(url: str, keyed_url: str, installed: Path, tests: str) -> None:
    urls = {"BASE_URL": url, "KEYED_URL": keyed_url}
    told = {**urls, "RETRY_AFTER_S": str(RETRY_AFTER_S), "WEATHER": json.dumps(WEATHER)}
    ran = subprocess.run(
        ["node", "--test", tests], cwd=installed, env=os.environ | told, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
