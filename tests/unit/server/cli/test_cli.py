"""The `spar` command as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

import pytest

from spar_server.cli import main
from spar_server.models.pair import ServedPair
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
PLAIN = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}


def spar(*words: str, cwd: Path | None = None, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spar_server.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=PLAIN, cwd=cwd, input=said, timeout=60, check=False
    )


def test_help_names_the_commands() -> None:
    done = spar("--help")
    assert done.returncode == 0
    for command in ("serve", "chat", "batch", "train", "eval"):
        assert command in done.stdout


def test_version_is_printed() -> None:
    assert spar("--version").stdout.strip() == f"spar {version('spar-server')}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serve", "--actor-url", "http://127.0.0.1:9/v1"), "actor.model: is needed; give --actor-model"),
        (("serve", "--config", "nowhere.toml"), "nowhere.toml: no such file"),
        (("serve", "--host", "192.0.2.1", "--no-auth"), "cannot listen on 192.0.2.1 port 8000"),
        (("serve", "--host", "\udce9", "--no-auth"), "cannot listen on"),
        (("serve", "--pair", "nowhere"), "nowhere/actor holds no model"),
        (("serve", "--check", "--pair", "nowhere"), "nowhere/actor holds no model"),
        (("serve", "--check", "--pair", "tiny", "--templates", "nonesuch"), "shipped set"),
        (("serve", "--host", "0.0.0.0"), "`spar keys new NAME`"),
        (("serve", "--keys-file", "none.toml"), "none.toml: No such file"),
        (("keys", "new", "a b"), "letters, digits"),
        (("serve", "--port", "99999"), "port: "),
        (("serve", "--actor-url", "x", "--actor-model", "m"), "actor.url"),
        (("serve", "--actor-url", "http://x/v1", "--actor-url", "y", "--actor-model", "m"), "actor.url.1"),
        (("serve", "--templates", "nonesuch", "--actor-url", "http://x/v1", "--actor-model", "m"), "shipped set"),
        (("train", "bootstrap", "--recipe", "nonesuch"), "nonesuch: neither a shipped"),
        (("eval", "world", "--split", "test"), "held_out"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_fix(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = spar(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("train", "bootstrap"),
        ("train", "run"),
        ("eval", "ifeval", "--model", "m"),
        ("eval", "agreement"),
        ("bench", "scaling"),
        ("bench", "self-play"),
    ],
)
def test_a_missing_extra_is_reported_before_anything_is_written(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["spar", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "matplotlib is not installed; pip install 'spar-server[training]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("told", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_serve_reports_when_it_is_ready_and_stops_on_a_signal(tmp_path: Path, told: signal.Signals, code: int) -> None:
    words = ("serve", "--port", "0", "--actor-url", "http://127.0.0.1:9/v1", "--actor-model", "m")
    process = subprocess.Popen(
        [sys.executable, "-m", "spar_server.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=PLAIN,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    try:
        assert re.match(r"SPaR Server is ready on http://127.0.0.1:\d+ with the model m", process.stdout.readline())
    finally:
        process.send_signal(told)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == code
    # It serves all the same: the upstream may come later.
    assert complaints.startswith("warning: actor: http://127.0.0.1:9/v1: no server answers there (")
    assert complaints.count("\n") == 1


def test_a_check_reports_problems_with_the_upstreams() -> None:
    upstream = FaultyUpstream()
    with upstream.serving():
        words = ("serve", "--check", "--actor-url", upstream.url, "--refiner-url", upstream.url.removesuffix("/v1"))
        wrong = spar(*words, "--actor-model", "other", "--refiner-model", "refiner")
        fine = spar("serve", "--check", "--actor-url", upstream.url, "--actor-model", "actor")
    assert wrong.returncode == 2
    assert "refiner: " in wrong.stderr
    assert f"lacks /v1: set it to {upstream.url}" in wrong.stderr
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "every upstream and database answers" in fine.stdout


def test_a_check_reports_a_trace_database_that_cannot_be_used_and_a_folder_that_hides_a_shipped_pair(
    tmp_path: Path,
) -> None:
    (tmp_path / "spar-135m").mkdir()
    (tmp_path / "spar.toml").write_text('[traces]\nrecord = "on"\npath = "nowhere/traces.sqlite"\n')
    done = spar("serve", "--check", cwd=tmp_path)
    assert done.returncode == 2
    assert "traces.path: nowhere is not a folder that can be written" in done.stderr
    assert f"warning: spar-135m is a shipped pair, but {tmp_path}/spar-135m is used" in done.stderr


def test_serve_refuses_a_port_that_is_taken_before_it_loads_a_model(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = spar("serve", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_serve_reports_a_port_that_was_taken_while_the_models_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def load(*_: object) -> ServedPair:
            other.listen()
            return scripted_pair()

        monkeypatch.setattr("spar_server.cli.serve.build_pair", load)
        monkeypatch.setattr(sys, "argv", ["spar", "serve", "--port", str(port)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    assert f"spar: cannot listen on 127.0.0.1 port {port}: " in capsys.readouterr().err


def test_openapi_describes_the_extensions(serving: Serving) -> None:
    import httpx

    with serving(scripted_pair()) as url:
        document = httpx.get(f"{url}/openapi.json").json()
    text = json.dumps(document["components"]["schemas"]["ChatRequest"])
    assert "refine_budget" in text
    assert "refine" in text


@pytest.mark.parametrize(
    ("models", "prompt"),
    [
        (("--pair", "tiny"), "Tell me about the river. Do not use commas."),
        (("--actor-url", "http://127.0.0.1:9/v1", "--actor-model", "m"), "Describe a walk along a river"),
    ],
)
def test_serve_suggests_a_prompt_that_suits_the_models(models: tuple[str, ...], prompt: str) -> None:
    command = [sys.executable, "-m", "spar_server.cli", "serve", "--port", "0", *models]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=PLAIN) as process:
        assert process.stdout is not None
        suggestion = next((line for line in process.stdout if line.startswith("curl")), "")
        process.terminate()
    assert f'"content": "{prompt}' in suggestion
