"""`spar traces` against a real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from spar_core.errors import BackendError, ConfigError
from spar_core.types import Message, Sampling
from spar_server.cli.traces.commands import app
from spar_server.settings import Settings, TraceSettings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]


def stored(serving: Serving, folder: Path, **pair: Any) -> AbstractContextManager[str]:
    settings = Settings(traces=TraceSettings(record=1, path=folder / "traces.sqlite"))
    return serving(scripted_pair(**pair), settings)


@pytest.fixture(scope="module")
def url(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stored(serving, tmp_path_factory.mktemp("traces")) as url:
        yield url


def ask(url: str, path: str = "/v1/chat/completions", **body: Any) -> str:
    asked = {"model": "pair", "messages": HELLO, "refine_budget": 2, **body}
    response = httpx.post(f"{url}{path}", json=asked)
    id: str = response.headers["x-spar-trace-id"]
    assert httpx.get(f"{url}/v1/traces/{id}").status_code == 200, response.text
    return id


def traces(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200", "NO_COLOR": "1"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.output


def test_list_has_a_line_for_each_trace_that_the_filters_select(url: str) -> None:
    ids = [ask(url, refine_budget=budget) for budget in (5, 6, 5)]
    lines = traces("list", "--url", url, "--budget", "5").splitlines()
    assert [line.split()[0] for line in lines] == ["id", ids[2], ids[0]]
    assert "refined_accepted, improved" in lines[1]
    assert "0.00 → 1.00" in lines[1]
    assert len(traces("list", "--url", url, "--limit", "1").splitlines()) == 2
    assert len(traces("list", "--url", url, "--until", "1d").splitlines()) == 1
    assert len(traces("list", "--url", url, "--since", "1h", "--improved", "--limit", "3").splitlines()) == 4


def test_show_draws_nodes_votes_critiques_and_the_changed_words(url: str) -> None:
    id = ask(url, messages=[{"role": "user", "content": "Hi \x1b[31mthere"}])
    httpx.post(f"{url}/v1/traces/{id}/feedback", json={"score": 0.5, "comment": "nice"})
    shown = traces("show", id, "--url", url)
    assert "\x1b" not in shown
    assert id in shown
    assert "user: Hi [31mthere" in shown
    assert re.search(r"^draft  ✗✗✗  0\.00$", shown, re.MULTILINE)
    assert "1. be better -> no" in shown
    assert re.search(r"── 0  ✓✓✓  1\.00  ← answer", shown)
    assert "[-a plain draft-]{+better answer+}" in shown
    assert "feedback of anonymous: +0.5  nice" in shown


def test_show_draws_every_search_of_several_answers(url: str) -> None:
    shown = traces("show", ask(url, n=2), "--url", url, "--full")
    assert "Search 1 of 2: refined_accepted" in shown
    assert "Search 2 of 2" in shown


@pytest.mark.parametrize("body", [{}, {"n": 2}, {"seed": 5, "temperature": 0.5, "stop": ["zzz"], "max_tokens": 50}])
def test_a_replay_on_the_same_models_is_the_same(url: str, body: dict[str, Any]) -> None:
    shown = traces("replay", ask(url, **body), "--url", url)
    assert "The replay is the same as the trace: refined_accepted, value 1.00." in shown


def test_a_replay_of_a_given_answer_starts_from_it(url: str) -> None:
    id = ask(url, "/v1/refine", response="my answer", critique="too plain")
    assert "the same as the trace" in traces("replay", id, "--url", url)


def test_a_replay_is_not_stored(url: str) -> None:
    id = ask(url)
    before = traces("list", "--url", url, "--limit", "100")
    traces("replay", id, "--url", url)
    assert traces("list", "--url", url, "--limit", "100") == before


def test_a_replay_on_other_models_says_where_it_parts(url: str, serving: Serving, tmp_path: Path) -> None:
    def other(messages: list[Message], sampling: Sampling) -> str:
        if messages[-1].text == "Refine the response.":
            return "[[start]]\nanother answer\n[[end]]"
        return "Final Judgement: " + ("Yes" if "another" in messages[0].text else "No")

    id = ask(url)
    with stored(serving, tmp_path, refiner=other) as elsewhere:
        shown = traces("replay", id, "--url", url, "--to", elsewhere, status=1)
    assert "0 has another text" in shown
    assert "[-better-]{+another+} answer" in shown
    assert "draft" not in shown.split()[0]
    with stored(serving, tmp_path, refiner=lambda messages, sampling: "Final Judgement: Yes") as elsewhere:
        shown = traces("replay", id, "--url", url, "--to", elsewhere, status=1)
    assert "draft has other votes: 0 yes, 3 no in the trace, 3 yes, 0 no in the replay" in shown
    assert "the replay with draft_accepted, value 1.00" in shown


def test_errors_name_the_cause(url: str) -> None:
    with pytest.raises(BackendError, match="there is no trace"):
        traces("show", "f" * 32, "--url", url)
    with pytest.raises(BackendError, match="stop_reason: Input should be"):
        traces("list", "--url", url, "--stop-reason", "tired")
    with pytest.raises(ConfigError, match="--since 3y: write an age as"):
        traces("list", "--url", url, "--since", "3y")
    with pytest.raises(ConfigError, match="--url nowhere"):
        traces("list", "--url", "nowhere")
    with pytest.raises(BackendError, match=r"no answer from http://127\.0\.0\.1:9"):
        traces("list", "--url", "http://127.0.0.1:9")
