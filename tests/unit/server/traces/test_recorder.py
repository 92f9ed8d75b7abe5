"""The recorder when all is not well: a store that is dead, slow or full, hooks, limits and expiry."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from spar_core.errors import ConfigError
from spar_server.app import create_app
from spar_server.settings import Settings, TraceSettings
from tests.support.pairs import scripted_pair
from tests.support.trace_server import TraceServer

Running = Callable[[Any], AbstractContextManager[str]]


def test_traces_are_written_and_counted(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path) as server:
        for _ in range(3):
            server.ask()
        server.until(failing=False, queued=0, stored=3, dropped=0)
        assert server.metric("spar_traces_stored_total") == 3
        assert server.metric("spar_trace_store_up") == 1
        assert server.metric("spar_traces_queued") == 0


def test_a_server_that_stops_writes_what_is_queued(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path) as server:
        server.recorder._linger_s = 60.0
        id = server.ask()
    with TraceServer(running, tmp_path) as server:
        assert server.trace(id).status_code == 200


def test_a_full_disk_costs_traces_and_no_answers(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path, max_queue=4) as server:
        server.until(failing=False)
        server.ask()
        server.until(stored=1)
        engine = server.recorder.store._database._engine.sync_engine
        pages = {"most": 1}

        @event.listens_for(engine, "checkout")
        def limit(connection: Any, *_: Any) -> None:
            # SQLite then reports a full disk once the file would grow.
            connection.cursor().execute(f"PRAGMA max_page_count={pages['most']}")

        long = "Hi " * 10_000
        ids = [server.ask(long) for _ in range(8)]
        server.until(failing=True, queued=4, dropped=4, stored=1)
        assert server.metric("spar_trace_store_up") == 0
        assert server.metric('spar_traces_dropped_total{reason="queue_full"}') == 4
        pages["most"] = 1_000_000
        server.until(failing=False, queued=0, stored=5)
        assert [server.trace(id).status_code for id in ids] == [200] * 4 + [404] * 4
        assert server.metric("spar_trace_store_up") == 1


def test_a_slow_store_delays_no_answer(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path) as server:
        server.until(failing=False)
        release, add = asyncio.Event(), server.recorder.store.add

        async def slowly(records: Any) -> None:
            await release.wait()
            await add(records)

        server.recorder.store.add = slowly
        for _ in range(5):
            server.ask()
        assert server.health()["stored"] == 0
        # An event may be set from any thread if its loop is woken, which the next request does.
        release.set()
        server.until(stored=5, queued=0)


def test_a_trace_that_is_too_large_is_dropped(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path, max_trace_kib=8) as server:
        server.ask("x" * 10_000)
        server.ask()
        server.until(stored=1, dropped=1)
        assert server.metric('spar_traces_dropped_total{reason="too_large"}') == 1


def test_a_trace_that_its_prompts_would_make_too_large_is_stored_without_them(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path, max_trace_kib=16) as server:
        long, short = server.ask("x" * 5_000), server.ask()
        assert "prompts" not in server.trace(long).json()["notes"][0]
        assert "prompts" in server.trace(short).json()["notes"][0]


def test_a_hook_redacts_each_trace_before_it_is_written(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redact(trace: dict[str, Any]) -> dict[str, Any] | None:
        text = trace["messages"][0]["content"]
        if text == "forget this":
            return None
        if text == "break":
            raise ValueError("cannot read it")
        assert trace["key"] == "anonymous"
        return {**trace, "key": "somebody", "messages": [{"role": "user", "content": "[removed]"}]}

    monkeypatch.setitem(__import__("sys").modules, "hook_of_the_test", SimpleNamespace(redact=redact))
    with TraceServer(running, tmp_path, redact="hook_of_the_test:redact") as server:
        kept, forgotten, broken = server.ask("a secret"), server.ask("forget this"), server.ask("break")
        trace = server.trace(kept)
        assert "secret" not in trace.text
        assert trace.json()["messages"][0]["content"] == "[removed]"
        assert trace.json()["key"] == "anonymous"
        # Prompts repeat what the hook removes.
        assert "prompts" not in trace.json()["notes"][0]
        assert server.trace(forgotten).status_code == server.trace(broken).status_code == 404
        # What the hook withholds is no loss.
        server.until(stored=1, dropped=1, queued=0, failing=False)
        assert server.metric('spar_traces_dropped_total{reason="redaction"}') == 1
        assert server.metric('spar_traces_dropped_total{reason="withheld"}') == 1
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_old_traces_expire_while_the_server_serves(running: Running, tmp_path: Path) -> None:
    server = TraceServer(running, tmp_path, max_age_days=1e-9)
    server.recorder._expire_every_s = 0.01
    with server:
        asked = [server.ask() for _ in range(20)]
        server.until(stored=20)
        for _ in range(3000):
            if server.metric('spar_traces_expired_total{limit="age"}') == len(asked):
                break
            threading.Event().wait(0.02)
        assert server.client.get("/v1/traces").json()["data"] == []
        assert server.health()["dropped"] == 0


def test_the_database_is_readable_by_its_owner_alone(running: Running, tmp_path: Path) -> None:
    with TraceServer(running, tmp_path) as server:
        server.ask()
        server.until(stored=1)
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ({"path": Path("/nowhere/traces.sqlite")}, r"traces\.path: /nowhere/traces\.sqlite: No such file"),
        ({"url": "mysql://db/traces"}, r"traces\.url: must be a postgresql:// URL"),
        ({"redact": "no_such_module:redact"}, r"traces\.redact: no_such_module:redact: No module"),
        ({"redact": "json:__name__"}, r"traces\.redact: json:__name__ is not a function"),
        ({"redact": "acme"}, r"there is no redactor 'acme'"),
    ],
)
def test_wrong_settings_are_errors_at_the_start(tmp_path: Path, traces: dict[str, Any], message: str) -> None:
    values = {"record": "on", "path": tmp_path / "traces.sqlite", **traces}
    with pytest.raises(ConfigError, match=message):
        create_app(Settings(traces=TraceSettings(**values)), scripted_pair())
