"""The server on a read-only file system, as in its container: it writes to the cache and temporary folders only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
# In name spaces of its own: everything is read-only but one empty file system.
PREPARE = """
set -e
mount --make-rprivate /
mount -o remount,bind,ro /
mount -t tmpfs tmpfs "$WRITABLE"
mkdir "$WRITABLE/cache" "$WRITABLE/tmp"
cd "$WRITABLE/tmp"
if touch "$PROJECT/written" 2>/dev/null; then echo "the root can be written"; exit 1; fi
"""


def namespaces() -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def can_be_prepared(environment: dict[str, str]) -> bool:
    try:
        return not subprocess.run([*namespaces(), PREPARE], env=environment, capture_output=True).returncode
    except OSError:
        return False


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "PROJECT": str(ROOT),
        "WRITABLE": str(tmp_path),
        "TMPDIR": str(tmp_path / "tmp"),
        "SPAR_CACHE": str(tmp_path / "cache"),
        "SPAR_PAIR": "tiny",
        "SPAR_PORT": str(port),
    }
    if not can_be_prepared(environment):
        pytest.skip("this machine allows no mounts of one's own")
    script = f'{PREPARE}\nexec "{sys.executable}" -m spar_server.cli serve'
    with subprocess.Popen([*namespaces(), script], env=environment) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").is_success
    except httpx.TransportError:
        return False


@pytest.mark.real
def test_a_search_is_answered(url: str) -> None:
    deadline = time.monotonic() + 120
    while not ready(url):
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.2)
    body = {
        "model": "spar-small",
        "refine_budget": 2,
        "messages": [{"role": "user", "content": "Tell me about the river."}],
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, json.dumps(answer.json())
    assert answer.json()["choices"][0]["message"]["content"]
