"""The log of a started server: what a line holds, and what none may hold."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_server.auth.keyring import sha256_of

SECRET, PROMPT = "spar-secret", "the prompt's own words"
KEYS = f'[{{"name": "alice", "sha256": "{sha256_of(SECRET)}"}}]'


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str

    def ask(self, path: str = "/v1/chat/completions", key: str = SECRET, **headers: str) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
        headers = {"Authorization": f"Bearer {key}"} | headers
        return httpx.post(self.url + path, json=body, headers=headers, timeout=60)

    def log(self) -> list[str]:
        """Everything that it logged, once it has ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=60)[1].splitlines()


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[Server]:
    words = ("serve", "--port", "0", "--actor-url", "http://127.0.0.1:9/v1", "--actor-model", "m")
    variables = {"SPAR_KEYS": KEYS, "SPAR_ACTOR__RETRIES": "0", "SPAR_LOG_LEVEL": "error"}
    process = subprocess.Popen(
        [sys.executable, "-m", "spar_server.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables | {f"SPAR_{name.upper()}": value for name, value in settings.items()},
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        ready = re.match(r"SPaR Server is ready on (\S+)", process.stdout.readline())
        assert ready
        yield Server(process, ready[1])
    finally:
        process.kill()
        process.communicate()


def requests(lines: list[str]) -> list[dict[str, Any]]:
    # Whatever else is logged, such as that the upstream does not answer, is an object too.
    entries = [json.loads(line) for line in lines]
    return [entry for entry in entries if entry["logger"] == "spar_server.access"]


def test_a_startup_warning_is_a_json_log_line_in_json_format(tmp_path: Path) -> None:
    with started(tmp_path, log_format="json", log_level="warning") as server:
        entries = [json.loads(line) for line in server.log()]
    assert entries[0]["level"] == "warning"
    assert "no server answers there" in entries[0]["message"]


def test_each_request_is_a_line_with_time_id_status_and_key(tmp_path: Path) -> None:
    with started(tmp_path, log_format="json") as server:
        assert server.ask(**{"x-request-id": "first"}).status_code == 502
        assert server.ask(key="unknown", **{"x-request-id": "second"}).status_code == 401
        assert server.ask(path="/v1/nothing?with=secrets", **{"x-request-id": "third"}).status_code == 404
        lines = server.log()
    found = requests(lines)
    assert [(entry["request_id"], entry["status"], entry["key"]) for entry in found] == [
        ("first", 502, "alice"),
        ("second", 401, ""),
        ("third", 404, "alice"),
    ]
    ids = {"request_id", "trace_id"}
    assert found[0].keys() == {"time", "level", "logger", *ids, "method", "path", "status", "ms", "key"}
    # A request that never came to a model has no trace.
    assert re.fullmatch("[0-9a-f]{32}", found[0]["trace_id"])
    assert found[1]["trace_id"] is None
    assert (found[0]["method"], found[0]["path"], found[0]["level"]) == ("POST", "/v1/chat/completions", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[0]["time"])
    assert found[2]["path"] == "/v1/nothing"


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_line_holds_a_key_or_a_prompt(tmp_path: Path, style: str) -> None:
    with started(tmp_path, log_format=style, log_level="info") as server:
        server.ask()
        server.ask(key="not-known-here")
        text = "\n".join(server.log())
    assert "status=401" in text or '"status": 401' in text
    assert not [secret for secret in (SECRET, "not-known-here", PROMPT) if secret in text]


def test_a_line_for_people_holds_the_same(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        server.ask(key="unknown", **{"x-request-id": "mine"})
        (line,) = [line for line in server.log() if "spar_server.access" in line]
    assert re.fullmatch(
        r"\S+Z INFO spar_server.access \[mine\] method=POST path=/v1/chat/completions status=401 ms=[\d.]+ key=", line
    )


def test_the_lines_of_requests_can_be_switched_off(tmp_path: Path) -> None:
    with started(tmp_path, access_log="false", log_level="info") as server:
        server.ask(key="unknown")
        assert "status=401" not in "\n".join(server.log())


def test_an_invalid_request_is_logged_too(tmp_path: Path) -> None:
    with started(tmp_path, log_format="json") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"\x1b[31mnot HTTP\r\n\r\n")
            while client.recv(4096):
                """Until it closes."""
        (entry,) = requests(server.log())
    assert (entry["status"], entry["code"], entry["client"]) == (400, "invalid_http", "127.0.0.1")


def test_no_path_can_steer_a_terminal_or_forge_a_line(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        server.ask(path="/v1/%1b%5b31m%0aforged%20line%c2%9b")
        lines = server.log()
    (line,) = [line for line in lines if "spar_server.access" in line]
    assert "path=/v1/%1b%5b31m%0aforged" in line
    assert all(line.isprintable() for line in lines)


@pytest.mark.skipif(
    not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    reason="there is no such signal here, or these tests run under nohup",
)
def test_a_hangup_does_not_end_the_server(tmp_path: Path) -> None:
    with started(tmp_path, log_level="info") as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr is not None
        assert any("reloaded: nothing has changed" in line for line in server.process.stderr)
        assert httpx.get(f"{server.url}/health").status_code == 200
