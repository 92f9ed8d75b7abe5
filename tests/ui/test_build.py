"""The files that the server ships are those that the sources make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from spar_server.http.headers import PLAYGROUND_FILES

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "server/spar_server/playground"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page's sources and of the client that it uses, at their places, with the packages of the lock."""
    root = tmp_path_factory.mktemp("playground")
    packages = shutil.ignore_patterns("node_modules", "dist")
    for folder in ("clients/playground", "clients/typescript"):
        shutil.copytree(ROOT / folder, root / folder, ignore=packages)
    _npm("ci", "--no-audit", "--no-fund", root=root)
    return root


def test_its_code_is_typed(root: Path) -> None:
    _npm("run", "check", root=root)


def test_a_build_makes_the_files_that_are_shipped(root: Path) -> None:
    _npm("run", "build", root=root)
    built = {file.name: file.read_bytes() for file in (root / "server/spar_server/playground").iterdir()}
    assert set(built) == {"index.html", *PLAYGROUND_FILES}
    stale = [name for name, content in built.items() if content != (SHIPPED / name).read_bytes()]
    assert not stale, f"run `npm run build` in clients/playground and commit {stale}"


def _npm(*arguments: str, root: Path) -> None:
    ran = subprocess.run(
        ["npm", *arguments], cwd=root / "clients/playground", capture_output=True, text=True, timeout=1800, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
