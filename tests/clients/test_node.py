"""The clients for Node: their own tests, in `node/`, against the same server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.obedient import RETRY_AFTER_S, WEATHER

HERE = Path(__file__).parent / "node"


@pytest.mark.parametrize("tests", sorted(path.name for path in HERE.glob("*.test.js")))
def test_a_node_client(url: str, keyed_url: str, node: Path, tests: str) -> None:
    urls = {"BASE_URL": url, "KEYED_URL": keyed_url}
    told = {**urls, "RETRY_AFTER_S": str(RETRY_AFTER_S), "WEATHER": json.dumps(WEATHER)}
    ran = subprocess.run(
        ["node", "--test", tests], cwd=node, env=os.environ | told, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
