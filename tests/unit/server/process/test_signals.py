"""The signals that stop `spar serve`, whenever they arrive."""

from __future__ import annotations

import signal

import pytest
import typer
import uvicorn

from spar_server.admission.draining import Draining
from spar_server.process.reload import Reloader
from spar_server.process.server import Server


def _server(draining: Draining) -> Server:
    """A server that is not started."""

    def make_reloader() -> Reloader:
        raise AssertionError

    async def on_ready(server: Server) -> None:
        raise AssertionError

    return Server(uvicorn.Config("unused"), draining, make_reloader=make_reloader, on_ready=on_ready)


async def test_a_second_ctrl_c_cuts_off_what_runs_even_if_it_comes_while_the_first_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draining = Draining(grace_s=3600, delay_s=0)
    draining.generation.running = 1
    server = _server(draining)
    monkeypatch.setattr(typer, "echo", lambda *_, **__: server.handle_exit(signal.SIGINT, None))
    server.handle_exit(signal.SIGINT, None)
    # The port must not close before the requests are told.
    assert not await server.on_tick(1)
    assert not await server.on_tick(2)
    assert draining.cutoff.reached
    draining.generation.running = 0
    assert await server.on_tick(3)


async def test_a_third_ctrl_c_waits_for_no_answer() -> None:
    draining = Draining(grace_s=3600, delay_s=0)
    draining.generation.running = 1
    server = _server(draining)
    for _ in range(3):
        server.handle_exit(signal.SIGINT, None)
    assert await server.on_tick(1)
    assert draining.cutoff.reached
