"""A real `spar serve --workers 2`: one port, common limits and metrics, and what a killed worker costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI, OpenAIError

from spar_server.auth.keyring import sha256_of
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.spar_serve import PATIENCE_S, SparServe, spar_serve, upstream_settings, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux, to find the workers")


def key(name: str, **limits: int) -> str:
    lines = "".join(f"{limit} = {value}\n" for limit, value in limits.items())
    return f'[[keys]]\nname = "{name}"\nsha256 = "{sha256_of(name)}"\n{lines}'


@contextmanager
def two_workers(folder: Path, upstream: FaultyUpstream, more: str = "") -> Iterator[SparServe]:
    with upstream.serving():
        settings = upstream_settings("actor", upstream.url) + more
        with spar_serve(folder, settings, "--workers", "2") as server:
            yield server


def statuses(server: SparServe, count: int, name: str = "", **body: object) -> Counter[int]:
    """The statuses of concurrent requests, each on a connection of its own."""
    with ThreadPoolExecutor(count) as pool:
        return Counter(answer.status_code for answer in pool.map(lambda _: server.ask(name, **body), range(count)))


def kill_one(server: SparServe) -> None:
    """Kill a worker, and wait until another has its place."""
    victim = server.workers[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in server.workers and len(server.workers) == 2)
    wait_until(lambda: server.metric("spar_workers") == 2)


def test_workers_share_port_quotas_and_metrics_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    with two_workers(tmp_path, FaultyUpstream(), key("ann", requests_per_minute=12) + key("bob")) as server:
        assert len(server.workers) == 2
        wait_until(lambda: server.metric("spar_workers") == 2)
        assert statuses(server, 20, "bob") == {200: 20}
        requests = 'spar_requests_total{kind="pass_through",outcome="ok"}'
        assert server.metric(requests) == 20
        assert server.metric('spar_admission_capacity{kind="search"}') == 6144

        # Whichever worker takes them: a minute's requests, and those that come in while they are sent.
        assert 12 <= statuses(server, 30, "ann")[200] < 30

        kill_one(server)
        assert server.metric("spar_workers_replaced_total") == 1
        # A replacement goes on with the counters of the worker that died, and nothing runs any more.
        assert server.metric(requests) >= 32
        assert server.metric('spar_requests_running{kind="pass_through"}') == 0
        assert "died: SIGKILL; another takes its place" in server.log
        assert statuses(server, 20, "bob") == {200: 20}
        assert server.stopped() == -signal.SIGTERM
        assert "Traceback" not in server.log


def test_a_key_never_has_more_searches_than_its_limit_in_all_workers(tmp_path: Path) -> None:
    upstream = FaultyUpstream(paused=True)
    limited = key("ann", concurrent_searches=3)
    with two_workers(tmp_path, upstream, limited) as server, ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(server.ask, "ann", refine_budget=2) for _ in range(12)]
        wait_until(lambda: sum(answer.done() for answer in asked) == 9)
        upstream.paused = False
        assert Counter(answer.result().status_code for answer in asked) == {429: 9, 200: 3}


def test_a_hangup_reaches_all_workers_and_a_new_one_starts_with_what_was_valid_last(tmp_path: Path) -> None:
    one, two = FaultyUpstream(), FaultyUpstream()
    with two.serving(), two_workers(tmp_path, one) as server:
        server.configure(upstream_settings("actor", two.url))
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.metric('spar_reloads_total{outcome="ok"}') >= 2)
        assert statuses(server, 20) == {200: 20}
        assert (len(one.calls), len(two.calls)) == (0, 20)

        server.configure("no_such_setting = 1")
        wait_until(lambda: server.metric('spar_reloads_total{outcome="refused"}') >= 2)
        kill_one(server)
        assert statuses(server, 20) == {200: 20}
        assert len(two.calls) == 40
        assert server.metric("spar_reload_refused") == 1


def test_killed_workers_cost_only_their_own_requests(tmp_path: Path) -> None:
    upstream = FaultyUpstream(delay_s=0.01)
    with two_workers(tmp_path, upstream) as server:
        over, failed = threading.Event(), []

        def ask() -> int:
            answers = 0
            # As any client does by default, it sends a request again if its connection breaks.
            with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=10, timeout=PATIENCE_S) as client:
                while not over.is_set():
                    try:
                        client.chat.completions.create(model="pair", messages=[{"role": "user", "content": "hi"}])
                        answers += 1
                    except OpenAIError as error:
                        failed.append(error)
            return answers

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(ask) for _ in range(8)]
            for _ in range(3):
                wanted = len(upstream.calls) + 20
                wait_until(lambda wanted=wanted: len(upstream.calls) > wanted)  # type: ignore[misc]
                kill_one(server)
            over.set()
            answers = sum(client.result() for client in clients)
        assert failed == []
        assert answers > 60
        # Nor is there an error that a client has hidden by a retry.
        assert "spar_error_responses_total{" not in server.metrics


def test_requests_that_run_are_finished_when_the_server_stops(tmp_path: Path) -> None:
    upstream = FaultyUpstream(paused=True)
    with two_workers(tmp_path, upstream) as server, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask) for _ in range(8)]
        wait_until(lambda: upstream.running == 8)
        # To the workers too, as a service manager sends it.
        for process in (server.process.pid, *server.workers):
            os.kill(process, signal.SIGTERM)
        upstream.paused = False
        assert {answer.result().status_code for answer in asked} == {200}
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


def test_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with two_workers(tmp_path, FaultyUpstream()) as server:
        workers = server.workers
        server.signal(signal.SIGKILL)
        server.process.wait(PATIENCE_S)
        wait_until(lambda: not any(_runs(pid) for pid in workers))


def _runs(pid: int) -> bool:
    """Whether the process is there, and not one whose end nobody has asked for."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--pair", "tiny"), "workers: 2 workers would each load the models, which run in this process"),
        (
            ("--actor-url", "http://127.0.0.1:9/v1", "--actor-model", "m"),
            "traces.path: /nowhere/traces: No such file or directory; set it to a file in a writable folder",
        ),
    ],
)
def test_what_keeps_workers_from_starting_is_said_once(tmp_path: Path, flags: tuple[str, ...], problem: str) -> None:
    command = [sys.executable, "-m", "spar_server.cli", "serve", "--port", "0", "--workers", "2", *flags]
    environment = os.environ | {"SPAR_TRACES__RECORD": "on", "SPAR_TRACES__PATH": "/nowhere/traces"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spar: {problem}")
