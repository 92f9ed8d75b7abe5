"""What happens around a server in years: a disk is full, Prometheus scrapes under load, a day of traces expires."""

from __future__ import annotations

import itertools
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar_server.traces.schema import TRACES
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.spar_serve import PATIENCE_S, spar_serve, upstream_settings, wait_until
from tests.support.trace_server import TraceServer

Running = Callable[[Any], AbstractContextManager[str]]


def answer(call: Any) -> str:
    """A draft, or a vote."""
    return "Final Judgement: Yes" if call.model == "refiner" else "An answer."


def models(url: str) -> str:
    return upstream_settings("actor", url) + upstream_settings("refiner", url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for a database and little more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="there is no mount here")
def test_a_full_disk_costs_no_answer_and_traces_are_stored_again_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    traces = f'[traces]\nrecord = "on"\npath = "{small_disk / "traces.sqlite"}"\n'
    with (
        FaultyUpstream(say=answer).serving() as upstream,
        spar_serve(tmp_path, models(upstream.url) + traces) as server,
    ):
        server.ask(refine_budget=1)
        wait_until(lambda: server.metric("spar_traces_stored_total") == 1)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    """Until the disk is full."""
            except OSError:
                """It is full."""
        long = "Tell me more. " * 20_000
        asked = [server.ask(text=long, refine_budget=1) for _ in range(4)]
        assert {response.status_code for response in asked} == {200}
        wait_until(lambda: server.metric("spar_trace_store_up") == 0)
        assert "traces cannot be stored" in server.log
        assert server.ask(refine_budget=1).status_code == 200
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        wait_until(lambda: server.metric("spar_traces_stored_total") == 6)
        assert server.metric("spar_trace_store_up") == 1
        for response in asked:
            stored = httpx.get(f"{server.url}/v1/traces/{response.headers['x-spar-trace-id']}")
            assert stored.json()["messages"][0]["content"] == long
        assert server.stopped() == -signal.SIGTERM


@contextmanager
def scraping(url: str, folder: Path) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the server twice a second."""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs: [{job_name: spar, static_configs: "
        f"[{{targets: ['{url.removeprefix('http://')}']}}]}}]\n"
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (
        subprocess.Popen(
            [*command, f"--web.listen-address={address}"], cwd=folder, stderr=subprocess.DEVNULL
        ) as process,
        httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_S) as client,
    ):
        try:
            wait_until(lambda: scraped(client, "up") is not None)
            yield client
        finally:
            process.terminate()


def scraped(prometheus: httpx.Client, expression: str) -> float | None:
    """The value of an expression; None if it has none yet."""
    try:
        response = prometheus.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return None
    # It answers 503 while it starts.
    found = response.json()["data"]["result"] if response.status_code == 200 else []
    return float(found[0]["value"][1]) if found else None


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed (apt-get install prometheus)")
@pytest.mark.parametrize("workers", [1, 2])
def test_prometheus_scrapes_while_200_searches_run(tmp_path: Path, workers: int) -> None:
    with (
        FaultyUpstream(say=answer, paused=True).serving() as upstream,
        spar_serve(tmp_path, models(upstream.url), "--workers", str(workers)) as server,
        scraping(server.url, tmp_path) as prometheus,
        ThreadPoolExecutor(200) as pool,
    ):
        asked = [pool.submit(server.ask, refine_budget=2) for _ in range(200)]
        running = 'sum(spar_requests_running{kind="search"})'
        wait_until(lambda: scraped(prometheus, running) == 200)
        upstream.paused = False
        assert {each.result().status_code for each in asked} == {200}
        wait_until(lambda: scraped(prometheus, running) == 0)
        wait_until(lambda: scraped(prometheus, 'spar_requests_total{kind="search",outcome="ok"}') == 200)
        # No counter has ever gone back, whichever worker was scraped.
        wait_until(lambda: scraped(prometheus, 'resets(spar_requests_total{kind="search",outcome="ok"}[1h])') == 0)
        wait_until(lambda: scraped(prometheus, "sum(spar_workers)") == workers)


@pytest.mark.slow
def test_a_day_of_traces_expires_while_the_server_answers(running: Running, tmp_path: Path) -> None:
    server = TraceServer(running, tmp_path, max_age_days=1)
    server.recorder._expire_every_s = 0.05
    with server:
        id = server.ask()
        server.until(stored=1)
        _age(tmp_path / "traces.sqlite", copies=86_400)
        answered, failed = 0, []
        expired = 'spar_traces_expired_total{limit="age"}'
        for number in itertools.count():
            answered += bool(server.ask())
            listed = server.client.get("/v1/traces", params={"limit": 5})
            failed += [listed.text] * (listed.status_code != 200)
            if number % 10 == 0 and server.metric(expired) == 86_400:
                break
        assert failed == []
        server.until(failing=False, queued=0, stored=1 + answered, dropped=0)
        assert server.trace(id).status_code == 200


def _age(database: Path, *, copies: int) -> None:
    """Copy the stored trace, one for each second of the day before yesterday."""
    import sqlite3

    with closing(sqlite3.connect(database, timeout=PATIENCE_S)) as connection, connection:
        cursor = connection.execute(f"SELECT * FROM {TRACES.name}")
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
        begin = time.time() - 2 * 86_400 - 3600
        rows = ({**row, "id": f"{number:032x}", "created": begin + number} for number in range(copies))
        places = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO {TRACES.name} ({', '.join(names)}) VALUES ({places})", rows)
