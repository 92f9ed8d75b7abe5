"""Servers that a run starts by a command: their settings, and the errors when one does not come up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spar_core.errors import BackendTimeout, BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling
from spar_training.inference.client import open_backend
from spar_training.inference.config import Serving
from spar_training.inference.server import serve_model

# Prints what it was started with and serves OpenAI's list of models; replica 1 may be set to die at once.
SERVER = """
import http.server, json, os, sys, time
model, name, port, replica, dying = sys.argv[1:]
if replica == dying:
    print("loading", model); print("CUDA error: no such device"); sys.exit(3)
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def do_POST(self):
        if "die" in self.path:
            print("out of memory", flush=True); os._exit(9)
        # It never answers.
        time.sleep(600)
    def log_message(self, *parts): pass
print(json.dumps({"pid": os.getpid(), "model": model, "name": name, "gpus": os.environ["GPUS"]}), flush=True)
http.server.HTTPServer(("127.0.0.1", int(port)), Models).serve_forever()
"""


def serving(*, dying: str = "none", **changes: object) -> Serving:
    words = [sys.executable, "-c", SERVER.replace("{", "{{").replace("}", "}}"), "{model}", "{name}", "{port}"]
    values = {"engine": "command", "command": [*words, "{replica}", dying], "replicas": 2, "gpus_per_replica": 2}
    return Serving.model_validate({**values, "environment": {"GPUS": "{gpus}"}, **changes})


def said(logs: Path, replica: int) -> dict[str, str]:
    found: dict[str, str] = json.loads((logs / f"actor-{replica}.log").read_text().splitlines()[0])
    return found


def gone(pid: str) -> bool:
    for _ in range(1200):
        if not os.path.exists(f"/proc/{pid}"):
            return True
        time.sleep(0.05)
    return False


async def test_each_replica_gets_its_model_port_and_gpus_and_ends_with_the_block(tmp_path: Path) -> None:
    async with serve_model("models/a", serving(), name="actor", logs=tmp_path) as place:
        assert place.model == "actor"
        assert len(set(place.urls)) == 2
    for replica, gpus in enumerate(("0,1", "2,3")):
        started = said(tmp_path, replica)
        assert (started["model"], started["name"], started["gpus"]) == ("models/a", "actor", gpus)
        assert gone(started["pid"])


async def test_a_server_that_dies_at_its_start_is_reported_with_its_log_and_ends_the_others(
    tmp_path: Path,
) -> None:
    error = r"ended with 3 before it was ready\n.*actor-1\.log:\nloading models/a\nCUDA error: no such device"
    with pytest.raises(BackendUnavailable, match=error):
        async with serve_model("models/a", serving(dying="1"), name="actor", logs=tmp_path):
            pytest.fail("it was not ready")
    if (tmp_path / "actor-0.log").stat().st_size:
        assert gone(said(tmp_path, 0)["pid"])


async def test_a_server_that_ends_during_a_call_is_reported_with_its_log(tmp_path: Path) -> None:
    async def call() -> None:
        async with (
            serve_model("m", serving(), name="actor", logs=tmp_path) as place,
            open_backend(place.model, urls=[f"{place.urls[1]}/die"]) as backend,
        ):
            await backend.complete([Message("user", "Hi")], Sampling())

    error = r"(?s)the server that the run started ended with 9\n[^\n]*actor-1\.log:\n.*out of memory"
    with pytest.raises(BackendUnavailable, match=error):
        await call()


async def test_servers_that_hang_are_all_killed_after_one_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_training.inference.server._STOP_TIMEOUT_S", 1.0)
    hanging = SERVER.replace("class Models", "import signal; signal.signal(15, signal.SIG_IGN)\nclass Models")
    words = [sys.executable, "-c", hanging.replace("{", "{{").replace("}", "}}"), "{model}", "{name}", "{port}"]
    async with serve_model("m", serving(command=[*words, "0", "no"], replicas=8), name="actor", logs=tmp_path):
        began = time.monotonic()
    # One after the other, they would take eight seconds.
    assert 1.0 <= time.monotonic() - began < 8.0


async def test_an_answer_may_take_as_long_as_the_recipe_allows(tmp_path: Path) -> None:
    slow = serving(answer_within_s=0.2, replicas=1)
    async with (
        serve_model("m", slow, name="actor", logs=tmp_path) as place,
        open_backend(place.model, urls=place.urls, answer_s=place.answer_s) as backend,
    ):
        with pytest.raises(BackendTimeout):
            await backend.complete([Message("user", "Hi")], Sampling())


async def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    slow = serving(command=[sys.executable, "-c", "import time; time.sleep(60)"], ready_within_s=0.1)
    with pytest.raises(BackendUnavailable, match="not ready in time"):
        async with serve_model("m", slow, name="actor", logs=tmp_path):
            pytest.fail("it was not ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_terminated_or_killed_ends_its_servers(number: signal.Signals, tmp_path: Path) -> None:
    recipe = {"name": "mine", "prompts": {"source": "world", "per_iteration": 2}, "iterations": 1}
    settings = serving().model_dump(mode="json")
    training = {"actor": {"learning_rate": 1}, "refiner": {"learning_rate": 1}}
    (tmp_path / "mine.yaml").write_text(json.dumps({**recipe, "serving": settings, "training": training}))
    words = ["-m", "spar_server.cli", "train", "run", "--recipe", str(tmp_path / "mine.yaml"), "--out", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "iteration-1" / "logs" / "mine-actor-0.log"
    with subprocess.Popen([sys.executable, *words], env=env, stderr=subprocess.DEVNULL) as run:
        for _ in range(6000):
            if log.exists() and log.read_text().endswith("\n"):
                break
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(120) != 0
    assert gone(json.loads(log.read_text().splitlines()[0])["pid"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"command": ["no-such-command"]}, "no-such-command cannot be started"),
        (
            {"command": ["vllm", "{folder}"]},
            "unknown field 'folder' in command or environment; the fields are",
        ),
    ],
)
async def test_a_wrong_command_is_named(changes: dict[str, object], error: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=error):
        async with serve_model("m", serving(**changes), name="actor", logs=tmp_path):
            pytest.fail("it was started")
