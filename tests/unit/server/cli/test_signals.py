"""The signals that stop `spar serve`, whenever they arrive."""

from __future__ import annotations

import signal

import pytest
import typer
import uvicorn

from spar_server.admission.draining import Draining
from spar_server.cli.serve import _Server
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair


async def test_a_second_ctrl_c_cuts_off_what_runs_even_if_it_comes_while_the_first_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draining = Draining(grace_s=3600, delay_s=0)
    draining.running = 1
    server = _Server(uvicorn.Config("unused"), Settings(), scripted_pair(), draining, keyed=False)
    monkeypatch.setattr(typer, "echo", lambda *_, **__: server.handle_exit(signal.SIGINT, None))
    server.handle_exit(signal.SIGINT, None)
    # The port must not close before the requests are told.
    assert not await server.on_tick(1)
    assert not await server.on_tick(2)
    assert draining.cutoff.reached
    draining.running = 0
    assert await server.on_tick(3)


async def test_a_third_ctrl_c_waits_for_no_answer() -> None:
    draining = Draining(grace_s=3600, delay_s=0)
    draining.running = 1
    server = _Server(uvicorn.Config("unused"), Settings(), scripted_pair(), draining, keyed=False)
    for _ in range(3):
        server.handle_exit(signal.SIGINT, None)
    assert await server.on_tick(1)
    assert draining.cutoff.reached
