"""What may import what, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "vllm", "numpy", "matplotlib", "jinja2")
SERVING = ("fastapi", "starlette", "uvicorn", "aiohttp", "pydantic", "prometheus_client")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


def test_the_core_loads_neither_a_server_nor_a_model_library() -> None:
    modules = "spar_core.search, spar_core.checks, spar_core.trace, spar_core.backends.scripted"
    assert not loaded_by(f"import {modules}; spar_core.Searcher") & {*HEAVY, *SERVING, "langdetect"}


def test_the_http_backend_loads_no_model_library() -> None:
    assert not loaded_by("import spar_core.backends.openai, spar_core.backends.vllm") & set(HEAVY)


def test_the_server_loads_no_model_library() -> None:
    assert not loaded_by("import spar_server.app, spar_server.cli.serve") & set(HEAVY)


def test_the_client_loads_neither_a_server_nor_a_model_library() -> None:
    slow = {*HEAVY, *SERVING, "httpx", "openai", "rich", "typer"}
    assert not loaded_by("from spar_client import Client, AsyncClient") & slow
    # httpx imports rich for its own command line, where it is installed.
    assert loaded_by("from spar_client import Client; Client()") & slow - {"rich"} == {"httpx", "pydantic"}


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    assert not loaded_by("import spar_server.cli.main") & {*HEAVY, *SERVING, "spar_training"}


def test_listing_the_commands_loads_nothing_heavy() -> None:
    modules = loaded_by("from spar_server.cli.main import app; app(['--help'], standalone_mode=False)")
    assert "spar_training" in modules
    assert not modules & {*HEAVY, *SERVING}


def imports_of(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("spar_core", ("spar_server", "spar_training", "spar_client")),
        ("server/spar_server", ("spar_training", "spar_client")),
        ("training/spar_training", ("spar_server", "spar_client")),
        ("clients/python/spar_client", ("spar_core", "spar_server", "spar_training")),
    ],
)
def test_arrows_point_down_only(package: str, forbidden: tuple[str, ...]) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not {name for name in imports_of(file) if name.startswith(forbidden)}, file


def test_the_settings_import_nothing_else_of_the_server() -> None:
    names = imports_of(ROOT / "server/spar_server/settings.py")
    assert not {name for name in names if name.startswith("spar_server")}


def test_the_folders_of_the_server_form_layers() -> None:
    root = ROOT / "server/spar_server"
    imported_by: dict[str, set[str]] = {}
    for file in root.rglob("*.py"):
        part = file.relative_to(root).parts[0].removesuffix(".py")
        names = (name.split(".") for name in imports_of(file) if name.startswith("spar_server."))
        imported_by.setdefault(part, set()).update({name[1] for name in names} - {part})
    # Raises CycleError, which names the folders, if two of them import each other.
    TopologicalSorter(imported_by).prepare()
