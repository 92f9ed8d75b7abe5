"""`import spar_core` is the library: its public names, and the example that uses them."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp import web

import spar_core
import spar_core.backends
from tests.support.loopback import upstream

ROOT = Path(__file__).parents[3]
HEAVY = {"LocalBackend", "LocalEngine", "OpenVinoBackend", "OpenVinoEngine", "VllmEngine"}


@pytest.mark.parametrize("package", [spar_core, spar_core.backends])
def test_every_public_name_can_be_imported_and_is_known_to_type_checkers(package) -> None:  # type: ignore[no-untyped-def]
    assert all(getattr(package, name) is not None for name in set(package.__all__) - HEAVY)
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    typed = {name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert typed - {None} == set(package.__all__)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'spar_core' has no attribute 'nothing'"):
        spar_core.nothing  # noqa: B018


async def test_the_example_refines_an_answer_against_a_server_until_its_function_is_satisfied() -> None:
    async def answer(request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        rivers = "Nile\nAmazon\nDanube\nRhine\nVolga"
        text = "Nile\nAmazon" if len(messages) == 1 else f"[[start]]\n{rivers}\n[[end]]"
        # The critique must quote the function's finding.
        assert len(messages) == 1 or "2 lines" in messages[1]["content"]
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    async with upstream(answer) as backend:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "examples" / "search.py"),
            backend.name,
            "model",
            "Name five rivers, one a line.",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    assert out.decode().splitlines() == ["Nile", "Amazon", "Danube", "Rhine", "Volga"]
    assert "refined_accepted" in err.decode()
