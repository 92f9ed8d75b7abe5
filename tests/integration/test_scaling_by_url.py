"""`spar bench scaling` by URL: measure any served actor and refiner with the same bench as a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.model_folder import shipped_pair, weights_sha256
from spar_server.cli.main import app
from spar_server.models.pair import build_pair
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]

SMALL = ["--methods", "bfs,best_of_n_all", "--budgets", "0,2", "--best-of", "2", "--best-of-all", "2",
         "--prompts", "3", "--seeds", "1", "--timed", "1", "--no-ablations", "--no-oracles"]  # fmt: skip
LIKE_THE_FOLDER = ["--templates", "compact", "--max-tokens", "256"]


@pytest.fixture(scope="module")
def refiner_url(serving: Serving) -> Iterator[str]:
    """A server whose actor is the shipped refiner."""
    with serving(build_pair(Settings(pair=shipped_pair() / "refiner", model="judge"))) as url:
        yield f"{url}/v1"


def bench(out: Path, *options: str) -> dict[str, Any]:
    called = CliRunner().invoke(app, ["bench", "scaling", *SMALL, *options, "--out", str(out)])
    if called.exception:
        raise called.exception
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


@pytest.mark.real
def test_a_pair_by_url_scores_the_same_as_in_a_folder(
    embedded_url: str, refiner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    at = ["--url", embedded_url, "--model", "spar-small", "--refiner-url", refiner_url, "--refiner-model", "judge"]
    served = bench(tmp_path / "served", *at, *LIKE_THE_FOLDER)
    folder = bench(tmp_path / "folder")
    # Drafts, votes, refinements, calls and tokens: the servers' answers are those of their engines, unrefined.
    assert served["items"] == folder["items"]
    assert "bfs@2/seconds" in served["figures"]

    settings = {"max_tokens": 256, "extra": {"refine_budget": 0}, "in_flight": 16}
    assert served["config"]["actor"] == {"model": "spar-small", "urls": [embedded_url], **settings}
    assert served["models"]["refiner"]["urls"] == [refiner_url]
    assert served["models"]["refiner"]["server"]["version"]
    # The lineage that a URL alone would not show.
    pair = served["models"]["actor"]["server"]["pair"]
    lineage = json.loads((shipped_pair() / "actor" / "lineage.json").read_text())
    assert pair["name"] == "spar-small"
    assert pair["actor"] == {"sha256": weights_sha256(shipped_pair() / "actor"), "recipe": lineage["recipe"]}
    report = (tmp_path / "served" / "report.md").read_text()
    assert f"actor spar-small at {embedded_url}, refiner judge at {refiner_url}" in report
    assert "through the same URLs" in report
    files = [file for file in (tmp_path / "served").rglob("*") if file.is_file()]
    assert not [file for file in files if b"a-secret-key" in file.read_bytes()]


def test_a_single_model_refines_its_own_answers_and_a_finished_run_is_not_repeated(
    serving: Serving, tmp_path: Path
) -> None:
    pair = scripted_pair()
    with serving(pair) as url:
        first = bench(tmp_path, "--url", f"{url}/v1", "--model", "pair", "--ablations")
        calls = len(pair.actor.calls)  # type: ignore[attr-defined]
        again = bench(tmp_path, "--url", f"{url}/v1", "--model", "pair", "--ablations")
        # Only the call that checks whether the model answers.
        assert len(pair.actor.calls) == calls + 1  # type: ignore[attr-defined]
        # On this project's own server, refinement is turned off.
        assert not pair.refiner.calls  # type: ignore[attr-defined]
    assert first["items"] == again["items"]
    # This arm streams, so that the tokens of cancelled calls are counted.
    assert "ablation stop=first/strict" in first["figures"]
    assert first["config"]["refiner"]["model"] == first["config"]["actor"]["model"] == "pair"
    assert first["config"]["templates"] == "default"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--url", "{url}", "--model", "other"], r"--url .*: has no model other; it has pair"),
        (["--url", "{url}"], "--model is needed"),
        (["--url", "{url}", "--model", "pair", "--refiner-url", "{url}"], "--refiner-model is needed"),
        (["--url", "{url}", "--model", "pair", "--refiner-model", "x"], "has no model x; it has pair"),
        (["--url", "{url}", "--model", "pair", "--pair", "/p"], "--pair and --url: give one of them"),
        (["--url", "{url}", "--model", "pair", "--oracles"], "--oracles: needs a folder"),
        (["--url", "http://me:key@host/v1", "--model", "pair"], "--url: must not contain a key or a query"),
        (["--url", "http://[h/v1", "--model", "pair"], r"--url .http://.h/v1.: must be an address"),
        (["--url", "host/v1", "--model", "pair"], "--url 'host/v1': must be an address"),
        (["--refiner-model", "x"], "--refiner-model: is for models by URL; give the actor's --url too"),
    ],
)
def test_invalid_options_are_refused_before_any_work(
    serving: Serving, tmp_path: Path, options: list[str], says: str
) -> None:
    with serving(scripted_pair()) as url, pytest.raises(ConfigError, match=says):
        bench(tmp_path, *(option.format(url=f"{url}/v1") for option in options))
    assert not list(tmp_path.iterdir())


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"--url http://127.0.0.1:9/v1: cannot be reached"):
        bench(tmp_path, "--url", "http://127.0.0.1:9/v1", "--model", "m")


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (401, {"error": {"message": "wrong key"}}, BackendRejected, r"m at http.*: refused \(.*refuses the key"),
        (404, {"error": {"message": "no such model"}}, BackendRejected, "no such model"),
        (200, {"choices": [{"message": {"content": "Hi"}}]}, ConfigError, "its answers have no usage"),
    ],
)
def test_one_call_shows_whether_a_server_can_be_measured(
    running: Serving, tmp_path: Path, status: int, body: dict[str, Any], error: type[Exception], says: str
) -> None:
    """The server does not list models, so that only a call can show it."""
    from starlette.responses import JSONResponse

    other = FastAPI()
    other.add_api_route("/v1/chat/completions", lambda: JSONResponse(body, status_code=status), methods=["POST"])
    with running(other) as url, pytest.raises(error, match=says):
        bench(tmp_path, "--url", f"{url}/v1", "--model", "m")
    assert not list(tmp_path.iterdir())
