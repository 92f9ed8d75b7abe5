"""The built wheels, alone in empty environments: the light gateway serves from its own, and the client asks it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Upstream(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers, judges and refines by rote."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        if len(asked) == 3:
            text = "[[start]]\nbetter\n[[end]]"
        elif "<response>" in asked[0]["content"]:
            text = f"Final Judgement: {'Yes' if 'better' in asked[0]['content'] else 'No'}"
        else:
            text = "draft"
        message = {"role": "assistant", "content": text}
        body = {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def built(project: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(project)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT / "clients/python", tmp_path_factory.mktemp("dist"))


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_the_wheel_contains_all_package_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "spar_core/prompts/default/judge.txt",
        "spar_core/prompts/compact/refine.txt",
        "spar_core/models/actor/model.safetensors",
        "spar_core/models/refiner/tokenizer.json",
        "spar_training/recipes/bootstrap/small-pair.yaml",
        "spar_training/recipes/llama-3-8b.yaml",
        "spar_training/recipes/accelerate/zero3-offload.yaml",
        "spar_training/recipes/studies/self_play/small-pair.yaml",
        "spar_training/recipes/studies/interference/small-pair.yaml",
        "spar_training/models/bootstrap/actor/model.safetensors",
        "spar_core/py.typed",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert tops - {name for name in tops if name.endswith(".dist-info")} == {
        "spar_core",
        "spar_server",
        "spar_training",
    }


def test_the_client_s_wheel_holds_the_client_alone(client_wheel: Path) -> None:
    names = zipfile.ZipFile(client_wheel).namelist()
    assert "spar_client/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"spar_client"}


def test_no_file_is_in_both_wheels(wheel: Path, client_wheel: Path) -> None:
    assert not set(zipfile.ZipFile(wheel).namelist()) & set(zipfile.ZipFile(client_wheel).namelist())


def installed(folder: Path, wheel: Path) -> tuple[Path, str]:
    """The programs of a new environment with a wheel, and what `pip list` says there."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True)
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    return folder / "bin", listed


CONVERSATION = """
import sys
from spar_client import Client
with Client(sys.argv[1]) as client:
    print(client.chat("Hi", refine_budget=2).text, client.refine("Hi", "mine").text, client.judge("Hi", "x").accepted)
"""


def test_the_light_gateway_serves_from_the_wheel_alone(
    wheel: Path, client_wheel: Path, upstream: str, tmp_path: Path
) -> None:
    programs, listed = installed(tmp_path / "server", wheel)
    assert "torch" not in listed
    client, listed = installed(tmp_path / "client", client_wheel)
    assert not [name for name in ("torch", "fastapi", "openai", "typer", "spar-server") if name in listed]
    spar = str(programs / "spar")
    refused = subprocess.run([spar, "serve"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "pip install 'spar-server[openvino]'" in refused.stderr.replace("\n", " ")
    process = subprocess.Popen(
        [spar, "serve", "--port", "0", "--actor-url", upstream, "--actor-model", "m"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    try:
        ready = re.search(r"http://\S+", process.stdout.readline())
        assert ready is not None
        answers = [ask(ready[0], budget) for budget in (0, 2)]
        command = [client / "python", "-c", CONVERSATION, ready[0]]
        asked = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        chat = [spar, "chat", "--url", ready[0], "--once", "Hi", "-b", "2"]
        missing = subprocess.run(chat, capture_output=True, text=True, check=False)
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", str(client_wheel)], check=True)
        chatted = subprocess.run(chat, check=True, capture_output=True, text=True).stdout
    finally:
        process.terminate()
        process.communicate(timeout=120)
    assert answers == ["draft", "better"]
    assert asked.split() == ["better", "better", "False"]
    assert "`spar chat` is part of spar-client, which is not installed" in missing.stderr
    assert chatted == "better\n"


def ask(url: str, budget: int) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "refine_budget": budget}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])
