"""One of several worker processes, which the supervisor forks. It serves its share of the configuration."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from socket import socket
from types import FrameType
from typing import Final

import uvicorn

from spar_core.errors import ConfigError
from spar_server.app import Gateway, create_app
from spar_server.http.server import server_config
from spar_server.metrics.logs import access_log
from spar_server.metrics.metrics import Metrics
from spar_server.metrics.workers import write_to_files
from spar_server.models.pair import build_pair
from spar_server.process.configuration import Configuration, Source
from spar_server.process.division import Share
from spar_server.process.probe import warn_of_upstreams
from spar_server.process.reload import Reloader
from spar_server.process.server import Server
from spar_server.process.shared_usage import SharedUsage

# How the supervisor stops a worker at once. Other signals can also come from a terminal or a service manager, which
# send them to all processes, so a worker may get those twice.
STOP_AT_ONCE: Final = signal.SIGUSR1
# Ticks of a tenth of a second between two updates of the gauges that are computed.
_REFRESH_TICKS: Final = 10


@dataclass(frozen=True, slots=True)
class Serving:
    """A worker's message that it serves the pair of this name."""

    pair: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker's message that it cannot start."""

    reason: str


@dataclass(frozen=True, slots=True)
class Worker:
    """What the supervisor gives a worker; `replaces` if it takes the place of one that died."""

    share: Share
    configuration: Configuration
    source: Source
    usage: SharedUsage
    sockets: Sequence[socket]
    replaces: bool = False

    def serve(self, ready: Connection, supervisor: int) -> None:
        """Serve until the supervisor stops the worker, or ends. Tells `ready` when it serves, or why it cannot.

        Called in the new process, with signals blocked.
        """
        # The supervisor's pipe, which this process has inherited.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        signal.signal(signal.SIGHUP, lambda *_: None)
        signal.signal(STOP_AT_ONCE, _leave)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        try:
            self._serve(ready, supervisor)
        except ConfigError as error:
            ready.send(Failed(str(error)))
            raise SystemExit(2) from error
        finally:
            access_log.flush()

    def _serve(self, ready: Connection, supervisor: int) -> None:
        share = self.share
        write_to_files(share.index)
        settings, keyring = (divided := self.configuration.divided(share)).settings, divided.keyring
        metrics = Metrics()
        pair = build_pair(settings, metrics.upstreams.of)
        app = create_app(
            settings,
            pair,
            metrics,
            keyring=keyring,
            usage=self.usage.of(share.index),
            expires_traces=share.index == 0,
        )

        async def on_ready(server: Server) -> None:
            metrics.workers.started(replaces=self.replaces)
            ready.send(Serving(pair.name))
            if share.index == 0 and not self.replaces:
                await warn_of_upstreams(self.configuration.settings)

        make_reloader = partial(
            Reloader, app, self.configuration, self.source, metrics=metrics, share=share, warns=share.index == 0
        )
        server = _WorkerServer(
            server_config(app, settings), app, supervisor, make_reloader=make_reloader, on_ready=on_ready
        )
        signal.signal(STOP_AT_ONCE, server.handle_stop_at_once)
        server.run(list(self.sockets))


def _leave(number: int, frame: FrameType | None) -> None:
    """End a worker that does not serve yet, or no longer."""
    raise SystemExit(0)


class _WorkerServer(Server):
    def __init__(
        self,
        config: uvicorn.Config,
        app: Gateway,
        supervisor: int,
        *,
        make_reloader: Callable[[], Reloader],
        on_ready: Callable[[Server], Awaitable[None]],
    ) -> None:
        super().__init__(config, app.state.gate.draining, make_reloader=make_reloader, on_ready=on_ready)
        self._supervisor = supervisor
        self._metrics: Metrics = app.state.metrics

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self._draining.started:
            super().handle_exit(sig, frame)

    def handle_stop_at_once(self, sig: int, frame: FrameType | None) -> None:
        """Cut off what still runs, whether or not the worker is stopping already."""
        self.handle_exit(sig, frame)
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if counter % _REFRESH_TICKS == 0:
            self._metrics.refresh()
            if os.getppid() != self._supervisor:
                # Nobody would replace or stop this worker.
                self.handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)
