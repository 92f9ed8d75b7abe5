"""One process that serves: it drains before it closes the port, and reloads its configuration on SIGHUP."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType

import typer
import uvicorn

from spar_server.admission.draining import Draining
from spar_server.process.reload import Reloader

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Calls `on_ready` when it takes requests. `reloader` is made in the event loop, by `make_reloader`."""

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Draining,
        *,
        make_reloader: Callable[[], Reloader],
        on_ready: Callable[[Server], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._make_reloader = make_reloader
        self._on_ready = on_ready
        self._reloader: Reloader | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._interrupted = self._reported = False
        self._signals = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server's own address."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return host, port

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        super().handle_exit(sig, frame)
        self._draining.start()
        self._interrupted = sig == signal.SIGINT
        # The first signal drains, and the second one cuts off what still runs: `on_tick` says when either is over.
        # Only a third one does not wait until what was cut off is answered.
        self.should_exit = self._signals > 2

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """On SIGHUP, reload at the next tick: a signal handler can do little."""
        if self._reloader is not None:
            self._reloader.request()

    async def on_tick(self, counter: int) -> bool:
        if self._reloader is not None:
            self._reloader.tick()
        # Called before super(), so that work that is due is done even in the last tick.
        over = self._draining.tick()
        if not over and (reason := self._draining.waiting_for()):
            self._report(reason)
        return await super().on_tick(counter) or over

    def _report(self, reason: str) -> None:
        """Report once what the server waits for: on the terminal after Ctrl-C, else in the log."""
        if self._reported:
            return
        self._reported = True
        if self._interrupted:
            typer.echo(f"Stopping: {reason}. Press Ctrl-C again to stop at once.", err=True)
        else:
            logger.info("stopping: %s; a second signal stops at once", reason)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._reloader = self._make_reloader()
        on_hangup(self.handle_hangup)
        _freeze_startup_objects()
        if self.started:
            self._reloading = asyncio.create_task(self._reloader.run())
            await self._on_ready(self)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reloading
        await super().shutdown(sockets)


def on_hangup(handle: Callable[[int, FrameType | None], None]) -> None:
    """Call `handle` on SIGHUP, unless the signal does not exist here or is ignored (`nohup`)."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)


def _freeze_startup_objects() -> None:
    """Keep the garbage collector from scanning the objects of startup, which are never freed, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
