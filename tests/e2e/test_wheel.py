"""The built wheel, alone in an empty environment: the light gateway serves from it."""

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_the_wheel_holds_all_package_data_and_nothing_else_of_the_house(wheel: Path) -> None:
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


def test_the_light_gateway_serves_from_the_wheel_alone(wheel: Path, upstream: str, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True)
    installed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "torch" not in installed
    spar = str(environment / "bin" / "spar")
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
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert answers == ["draft", "better"]


def ask(url: str, budget: int) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "refine_budget": budget}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])
