"""Data sets named as a repository of the Hugging Face Hub: fetched from a real HTTP server that speaks its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" * 6 + "c0de"
PROMPT = {
    "key": 1,
    "prompt": "Say hello without commas.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{}],
}
FILES = {"ifeval/input_data.jsonl": json.dumps(PROMPT).encode() + b"\n"}


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/datasets/me/sets/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()
            ]
            self._answer(200, json.dumps(entries).encode())
        elif path.startswith("/api/datasets/me/sets"):
            siblings = [{"rfilename": name} for name in FILES]
            self._answer(200, json.dumps({"id": "me/sets", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith("/datasets/me/sets/resolve/") and (name := path.split("/", 6)[6]) in FILES:
            self._answer(200, FILES[name])
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {"Content-Length": str(len(body)), "ETag": '"e"', "X-Repo-Commit": COMMIT, **(headers or {})}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def scored(data: str, hub: str, folder: Path) -> subprocess.CompletedProcess[str]:
    responses = folder / "responses.jsonl"
    responses.write_text(json.dumps({"prompt": PROMPT["prompt"], "response": "Hello there."}) + "\n")
    words = ["eval", "ifeval", "--responses", str(responses), "--data", data, "--out", str(folder / "out")]
    command = [sys.executable, "-m", "spar_server.cli", *words]
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(folder / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_benchmarks_data_come_from_a_repository_that_is_named(hub: str, tmp_path: Path) -> None:
    done = scored("hf:me/sets", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["items"]) == 1


def test_a_repository_that_is_not_there_is_named(hub: str, tmp_path: Path) -> None:
    done = scored("hf:me/others", hub, tmp_path)
    assert done.returncode != 0
    assert "--data hf:me/others: cannot be fetched" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
