"""`clients/examples`: each runs as it stands, and its answer was refined."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import litellm
import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from spar_core.types import Message, Sampling
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
EXAMPLES = Path(__file__).parents[2] / "clients/examples"
# The configuration of a program that cannot be run here; its first line says so.
NOT_RUN = {"open_webui.yaml"}
REFINED = "refined_accepted"


def environment(url: str) -> dict[str, str]:
    base = url.removesuffix("/v1")
    return {**os.environ, "SPAR_URL": base, "SPAR_API_BASE": url, "SPAR_API_KEY": "none", "SPAR_MODEL": "pair"}


def printed(command: Sequence[str | Path], url: str, cwd: Path = EXAMPLES) -> str:
    """What an example prints."""
    ran = subprocess.run(
        command, cwd=cwd, env=environment(url), capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "dspy_program.py"))
def test_a_python_example_prints_a_refined_answer(url: str, name: str) -> None:
    shown = printed([sys.executable, name], url)
    assert "better answer" in shown
    assert REFINED in shown


def test_the_example_for_dspy_prints_a_refined_answer(serving: Serving) -> None:
    answer = "[[ ## answer ## ]]\nbetter answer\n\n[[ ## completed ## ]]"

    def refiner(messages: Sequence[Message], sampling: Sampling) -> str:
        if messages[-1].text == "Refine the response.":
            return f"[[start]]\n{answer}\n[[end]]"
        return f"Final Judgement: {'Yes' if messages[0].text.endswith(answer) else 'No'}"

    with serving(scripted_pair(refiner=refiner)) as url:
        shown = printed([sys.executable, "dspy_program.py"], f"{url}/v1")
    # Only a refinement says so; DSPy's record of a call may leave the usage's extensions out.
    assert shown == "better answer\n"


def test_the_example_for_curl_gets_a_refined_answer(url: str) -> None:
    body = json.loads(printed(["sh", "curl.sh"], url))
    assert body["choices"][0]["message"]["content"] == "better answer"
    assert body["usage"]["refinement"]["stop_reason"] == REFINED


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.mjs")))
def test_an_example_for_node_prints_a_refined_answer(url: str, node: Path, name: str) -> None:
    assert printed(["node", name], url, cwd=node).rstrip().split("\n")[-2:] == ["better answer", REFINED]


@pytest.mark.filterwarnings("ignore")
def test_litellms_proxy_gets_a_model_list_that_refines_by_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)
    text = (EXAMPLES / "litellm_proxy.yaml").read_text(encoding="utf-8").replace("openai/spar-135m", "openai/pair")
    # The proxy is a server around this router.
    router = litellm.Router(model_list=yaml.safe_load(text)["model_list"])
    answer = router.completion(model="spar", messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content == "better answer"


# Jupyter leaves sockets open.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_draws_its_search(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(EXAMPLES / "search_tree.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(EXAMPLES)}}, timeout=120).execute()
    gc.collect()
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [data["image/svg+xml"] for data in outputs if "image/svg+xml" in data]
    assert len(pictures) == 1
    assert "better answer" in pictures[0].replace("</tspan>", "").replace('<tspan class="new">', "")


def test_continue_gets_a_refined_answer(url: str, node: Path, tmp_path: Path) -> None:
    text = (EXAMPLES / "continue.yaml").read_text(encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("http://127.0.0.1:8000/v1", url).replace("spar-135m", "pair"), encoding="utf-8")
    own = {"HOME": str(tmp_path), "CONTINUE_TELEMETRY_ENABLED": "0"}
    ran = subprocess.run(
        [node / "node_modules/.bin/cn", "--config", config, "--print", "Hi"],
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Only a refinement says so.
    assert ran.stdout.strip() == "better answer"


def test_every_example_is_run_or_says_that_it_is_not() -> None:
    for example in EXAMPLES.iterdir():
        first = example.read_text(encoding="utf-8")[:600]
        says = "Not run by any test" if example.name in NOT_RUN else "Run by `make test-clients`"
        assert says in first, example.name
