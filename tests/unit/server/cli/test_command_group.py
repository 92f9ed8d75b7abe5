"""Commands that installed packages add to `spar`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar_core.plugins import Registry
from spar_server.cli import main

Install = Callable[[str, str], None]
Spar = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Install a package `acme-extras` with the module `acme` and one command by entry point."""

    def write(module: str, entry_point: str) -> None:
        (tmp_path / "acme.py").write_text(module, encoding="utf-8")
        metadata = tmp_path / "acme_extras-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-extras\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[spar.commands]\n{entry_point}\n")

    return write


@pytest.fixture
def spar(tmp_path: Path) -> Spar:
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "PYTHONPATH": path}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "spar_server.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)

    return run


GROUP = """
import typer
app = typer.Typer(help="Compare answers by Acme's rules.")
@app.command()
def score(answer: str) -> None:
    print(len(answer))
@app.command()
def rank() -> None: ...
"""
FUNCTION = '''
def compare(first: str, second: str = "x") -> None:
    """Compare two answers."""
    print(first, second)
'''


def test_a_package_adds_a_group_of_commands(install: Install, spar: Spar) -> None:
    install(GROUP, "acme = acme:app")
    assert "Compare answers by Acme's rules." in spar("--help").stdout
    assert spar("acme", "score", "four").stdout == "4\n"


def test_a_package_adds_one_command_by_a_function(install: Install, spar: Spar) -> None:
    install(FUNCTION, "compare = acme:compare")
    assert "Compare two answers." in spar("--help").stdout
    assert spar("compare", "a", "--second", "b").stdout == "a b\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import nonesuch", "needs nonesuch, which is not installed; install the extra that contains it"),
        ("", "cannot be loaded from acme:app: "),
    ],
)
def test_a_command_that_cannot_be_imported_is_listed_with_the_reason(
    install: Install, spar: Spar, module: str, reason: str
) -> None:
    install(module, "acme = acme:app")
    listing = spar("--help")
    assert listing.returncode == 0
    reason = f"the package 'acme-extras': its command 'acme' {reason}"
    assert f"Not available: {reason}" in " ".join(listing.stdout.replace("│", " ").split())
    failed = spar("acme", "score", "--strict", "four")
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"spar: {reason}")


def test_an_entry_point_does_not_replace_a_command_of_spar_itself(install: Install, spar: Spar) -> None:
    install("raise SystemExit('replaced')", "serve = acme:app")
    assert spar("serve", "--help").returncode == 0


def test_the_clients_commands_say_where_they_come_from_if_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    none = Registry[Any]("spar.no_such_group", {}, kind="command")
    monkeypatch.setattr("spar_server.cli.command_group.CommandGroup.registry", none)
    monkeypatch.setattr(sys, "argv", ["spar", "chat", "--once", "Hi"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "`spar chat` is part of spar-client, which is not installed" in capsys.readouterr().err


def test_an_unknown_command_is_refused(spar: Spar) -> None:
    failed = spar("acme")
    assert failed.returncode == 2
    assert "No such command 'acme'" in failed.stderr


def test_two_packages_cannot_add_a_command_of_one_name(install: Install, spar: Spar, tmp_path: Path) -> None:
    install(FUNCTION, "compare = acme:compare")
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[spar.commands]\ncompare = other:compare\n")
    failed = spar("compare", "a")
    assert failed.returncode == 2
    assert "both register the command 'compare'; rename one, or uninstall one" in failed.stderr
