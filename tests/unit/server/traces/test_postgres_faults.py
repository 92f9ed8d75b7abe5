"""A PostgreSQL that dies or falls silent while the server answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from spar_server.traces import recorder as recorder_module
from tests.support.postgres import Postgres
from tests.support.trace_server import TraceServer

Running = Callable[[Any], AbstractContextManager[str]]


def test_a_database_that_is_killed_costs_no_answer_and_no_trace_that_fits_the_queue(
    running: Running, tmp_path: Path, postgres: Postgres
) -> None:
    with TraceServer(running, tmp_path, url=SecretStr(postgres.url), max_queue=8) as server:
        before = [server.ask() for _ in range(5)]
        server.until(stored=5)
        postgres.kill()
        try:
            during = [server.ask() for _ in range(12)]
            server.until(failing=True, queued=8, dropped=4, stored=5)
            assert server.client.get("/v1/traces").json()["error"]["code"] == "trace_store_unavailable"
        finally:
            postgres.start()
        server.until(failing=False, queued=0, stored=13)
        after = server.ask()
        found = {id for id in (*before, *during, after) if server.trace(id).status_code == 200}
        assert found == {*before, *during[:8], after}


def test_a_database_that_is_killed_and_comes_back_under_load_loses_nothing(
    running: Running, tmp_path: Path, postgres: Postgres
) -> None:
    with TraceServer(running, tmp_path, url=SecretStr(postgres.url)) as server, ThreadPoolExecutor(8) as clients:
        server.until(failing=False)
        asked = [clients.submit(server.ask) for _ in range(200)]
        asked[40].result()
        postgres.kill()
        try:
            asked[120].result()
        finally:
            postgres.start()
        ids = {each.result() for each in asked}
        server.until(failing=False, queued=0, stored=200, dropped=0)
        listed = [each for page in pages(server) for each in page]
    # Written once each, also those whose write was under way when the database died.
    assert sorted(id for id in listed if id in ids) == sorted(ids)


def pages(server: TraceServer) -> Iterator[list[str]]:
    """The ids of all traces, page by page."""
    cursor: dict[str, str] = {}
    while True:
        page = server.client.get("/v1/traces", params={"limit": 100, **cursor}).json()
        yield [trace["id"] for trace in page["data"]]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def test_a_server_starts_without_its_database_and_stores_once_it_is_there(
    running: Running, tmp_path: Path, postgres: Postgres
) -> None:
    postgres.kill()
    try:
        server = TraceServer(running, tmp_path, url=SecretStr(postgres.url))
        server.__enter__()
        id = server.ask()
        server.until(failing=True, queued=1)
    finally:
        postgres.start()
    server.until(failing=False, queued=0)
    assert server.trace(id).status_code == 200
    server.__exit__(None, None, None)


def test_a_database_that_falls_silent_is_given_up_on_in_time(
    running: Running, tmp_path: Path, postgres: Postgres, monkeypatch: Any
) -> None:
    monkeypatch.setattr(recorder_module, "_WRITE_S", 0.5)
    with TraceServer(running, tmp_path, url=SecretStr(postgres.url)) as server:
        server.ask()
        server.until(stored=1)
        postgres.freeze()
        try:
            ids = [server.ask() for _ in range(3)]
            server.until(failing=True, queued=3)
        finally:
            postgres.thaw()
        server.until(failing=False, queued=0)
        assert [server.trace(id).status_code for id in ids] == [200, 200, 200]
