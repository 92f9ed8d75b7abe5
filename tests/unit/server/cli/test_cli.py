"""The `spar` command as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from spar_core.backends.scripted import always
from spar_server.cli import main
from spar_server.cli.chat import word_diff
from spar_server.models.pair import Pair
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
    for command in ("serve", "chat", "train", "eval"):
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
        (("serve", "--host", "0.0.0.0"), "`spar keys new NAME`"),
        (("serve", "--keys-file", "none.toml"), "none.toml: No such file"),
        (("keys", "new", "a b"), "letters, digits"),
        (("serve", "--port", "99999"), "port: "),
        (("serve", "--actor-url", "x", "--actor-model", "m"), "actor.url"),
        (("serve", "--actor-url", "http://x/v1", "--actor-url", "y", "--actor-model", "m"), "actor.url.1"),
        (("serve", "--templates", "nonesuch", "--actor-url", "http://x/v1", "--actor-model", "m"), "shipped set"),
        (("chat", "--url", "http://127.0.0.1:9", "--once", "hi"), "start one with `spar serve`"),
        (("chat", "--url", "127.0.0.1:8000", "--once", "hi"), "--url 127.0.0.1:8000: must be an address such as"),
        (("chat", "--url", "http://127.0.0.1:99999", "--once", "hi"), "must be an address such as"),
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
        _, complaints = process.communicate(timeout=20)
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
    assert "every upstream answers" in fine.stdout


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

        def load(*_: object) -> Pair:
            other.listen()
            return scripted_pair()

        monkeypatch.setattr("spar_server.cli.serve.build_pair", load)
        monkeypatch.setattr(sys, "argv", ["spar", "serve", "--port", str(port)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    assert f"spar: cannot listen on 127.0.0.1 port {port}: " in capsys.readouterr().err


def test_chat_continues_after_a_refused_question(serving: Serving) -> None:
    with serving(scripted_pair()) as url:
        done = spar("chat", "--url", url, "--budget", "999", said="Hi\nHi\n\n")
    assert (done.returncode, done.stdout.strip()) == (0, "")
    assert done.stderr.count("limit of 64") == 2


def on_a_terminal(*words: str) -> str:
    """What a command writes to a terminal."""
    terminal, inside = pty.openpty()
    environment = PLAIN | {"TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "spar_server.cli", *words], stdin=inside, stdout=inside, stderr=inside, env=environment
    ):
        os.close(inside)
        pieces = []
        # The end of a terminal whose other side is closed is an error.
        with suppress(OSError):
            while piece := os.read(terminal, 65536):
                pieces.append(piece)
        os.close(terminal)
    return b"".join(pieces).decode()


def test_chat_on_a_terminal_shows_draft_critique_refinement_and_answer(serving: Serving) -> None:
    with serving(scripted_pair()) as url:
        shown = on_a_terminal("chat", "--url", f"{url}/v1", "--once", "Hi there", "--budget", "3")
    places = [shown.index(text) for text in ("Draft:", "Judged draft: rejected", "Refinement 1:", "answer", "nodes")]
    assert places == sorted(places)
    assert "refined_accepted" in shown
    # The draft's words are struck through.
    assert re.search(r"\x1b\[[\d;]*9[\d;]*ma plain draft", shown.rpartition("answer ─")[2])


@pytest.mark.parametrize(("budget", "answer"), [("3", "better answer\n"), ("0", "a plain draft\n")])
def test_piped_chat_writes_the_answer_and_nothing_else(serving: Serving, budget: str, answer: str) -> None:
    with serving(scripted_pair()) as url:
        done = spar("chat", "--url", url, "--once", "Hi there", "--budget", budget)
    assert (done.returncode, done.stdout) == (0, answer)
    assert ("Judged draft: rejected" in done.stderr) == (budget == "3")
    assert "nodes" in done.stderr


def test_a_piped_conversation_writes_the_answers(serving: Serving) -> None:
    with serving(scripted_pair()) as url:
        done = spar("chat", "--url", url, "--budget", "1", said="Hi\nHi again\n\n")
    assert (done.returncode, done.stdout) == (0, "better answer\nbetter answer\n")


HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J\rover \u202etxt.exe\u202c\x00\ttab\nline é\u200d👩"


@pytest.mark.parametrize("budget", ["0", "1"])
def test_chat_passes_nothing_on_that_could_steer_a_terminal(serving: Serving, budget: str) -> None:
    with serving(scripted_pair(always(HOSTILE), lambda *_: "[[start]]\n" + HOSTILE + "!\n[[end]]")) as url:
        done = spar("chat", "--url", url, "--once", "Hi there", "--budget", budget)
    assert done.stdout.startswith("[31mred]0;title 2Jover txt.exe\ttab\nline é\u200d👩")
    for shown in (done.stdout, done.stderr):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


def test_the_diff_is_the_answer_plus_what_was_struck_from_the_draft() -> None:
    text = word_diff("The old river.\n\nIt is calm.", "The blue  river.\n\nIt is calm.")
    assert text.plain == "The old blue  river.\n\nIt is calm."
    assert [(text.plain[span.start : span.end], span.style) for span in text.spans] == [
        ("old ", "red strike"),
        ("blue  ", "bold green"),
    ]


def test_openapi_describes_the_extensions(serving: Serving) -> None:
    import httpx

    with serving(scripted_pair()) as url:
        document = httpx.get(f"{url}/openapi.json").json()
    text = json.dumps(document["components"]["schemas"]["ChatRequest"])
    assert "refine_budget" in text
    assert "refine" in text
