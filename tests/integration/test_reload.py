"""A real `spar serve` whose files change while it runs: what holds for the next request, and what is refused."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from spar_server.auth.keyring import sha256_of
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.spar_serve import SparServe, spar_serve, upstream_settings, wait_until

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    reason="there is no such signal here, or these tests run under nohup",
)


def keys(**limits: str) -> str:
    """A file of keys: the secret of each is its name, and its value more lines."""
    return "\n".join(
        f'[[keys]]\nname = "{name}"\nsha256 = "{sha256_of(name)}"\n{more}' for name, more in limits.items()
    )


def reloads(server: SparServe, outcome: str) -> float:
    return server.metric(f'spar_reloads_total{{outcome="{outcome}"}}')


def test_keys_and_upstreams_change_while_requests_run(tmp_path: Path) -> None:
    with (
        FaultyUpstream(say=lambda call: "from one").serving() as one,
        FaultyUpstream(say=lambda call: "from two").serving() as two,
    ):
        (tmp_path / "keys.toml").write_text(keys(ann="", bob=""))
        settings = 'keys_file = "keys.toml"\n'
        with spar_serve(tmp_path, settings + upstream_settings("actor", one.url)) as server:
            assert server.ask("ann").json()["choices"][0]["message"]["content"] == "from one"

            # A file that is written counts without a signal: bob's key is gone, and eve has one.
            server.configure(keys(ann="requests_per_minute = 1", eve=""), "keys.toml")
            wait_until(lambda: server.ask("eve").status_code == 200)
            assert server.ask("bob").status_code == 401
            assert [server.ask("ann").status_code for _ in range(2)] == [200, 429]

            # A request that runs keeps its upstream, while the next one finds the other.
            one.paused = True
            with ThreadPoolExecutor() as pool:
                running = pool.submit(server.ask, "eve")
                wait_until(lambda: one.running == 1)
                before = reloads(server, "ok")
                server.configure(settings + upstream_settings("actor", two.url))
                server.signal(signal.SIGHUP)
                wait_until(lambda: reloads(server, "ok") > before)
                assert server.ask("eve").json()["choices"][0]["message"]["content"] == "from two"
                one.paused = False
                assert running.result().json()["choices"][0]["message"]["content"] == "from one"
            # Then its connections are closed.
            wait_until(lambda: one.connections == 0)
            assert "reloaded: actor" in server.log


def test_what_is_invalid_is_refused_as_a_whole_and_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    with FaultyUpstream().serving() as upstream:
        actor = upstream_settings("actor", upstream.url)
        with spar_serve(tmp_path, actor) as server:
            server.configure("[refine]\nrefine_budget = 65\n" + upstream_settings("actor", "http://127.0.0.1:9/v1"))
            wait_until(lambda: reloads(server, "refused") == 1)
            assert server.metric("spar_reload_refused") == 1
            assert server.ask().status_code == 200
            (line,) = [line for line in server.log.splitlines() if "not reloaded" in line]
            assert "earlier settings and keys hold: refine: " in line
            assert "refine_budget is 65, over max_refine_budget, which is 64; lower one or raise the other" in line

            server.configure("[limits]\nmax_n = 2\n[refine]\nmax_refine_budget = 3\n" + actor)
            wait_until(lambda: reloads(server, "ok") == 1)
            assert server.metric("spar_reload_refused") == 0
            assert "is over the limit of 3" in server.ask(refine_budget=4).json()["error"]["message"]
            assert "needs a restart: limits.max_n\n" in server.log


def test_a_storm_of_hangups_under_load_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(keys(ann=""))
    over = threading.Event()
    with FaultyUpstream().serving() as upstream:
        settings = 'keys_file = "keys.toml"\n' + upstream_settings("actor", upstream.url)
        with spar_serve(tmp_path, settings) as server, ThreadPoolExecutor() as pool:

            def ask() -> list[int]:
                statuses = []
                with httpx.Client(headers={"Authorization": "Bearer ann"}, timeout=240) as client:
                    while not over.is_set():
                        body = {"model": "pair", "messages": [{"role": "user", "content": "hello"}]}
                        statuses.append(client.post(f"{server.url}/v1/chat/completions", json=body).status_code)
                return statuses

            clients = [pool.submit(ask) for _ in range(4)]
            for _ in range(1000):
                server.signal(signal.SIGHUP)
            before = reloads(server, "ok")
            wait_until(lambda: reloads(server, "ok") > before or before > 0)
            over.set()
            statuses = [status for client in clients for status in client.result()]
            assert set(statuses) == {200}
            # Each reload took all signals before it.
            assert 1 <= reloads(server, "ok") <= 1000
            assert reloads(server, "refused") == 0
