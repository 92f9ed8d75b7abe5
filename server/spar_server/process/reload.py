"""Read settings and keys again while the server runs: on SIGHUP, and when their files change.

What is invalid is refused as a whole, and the server keeps what it had. Otherwise the next request finds the new
settings and keys, while requests that are under way keep the earlier ones, and their models, until they end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from spar_core.errors import ConfigError
from spar_server.admission.draining import Generation
from spar_server.app import Gateway, check_pair
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import OpenPair, ServedPair, build_pair
from spar_server.process.configuration import Change, Configuration, Source, change_of
from spar_server.process.division import WHOLE, Share
from spar_server.process.probe import upstream_problems
from spar_server.settings import Settings, Upstream

logger = logging.getLogger(__name__)

# How often the files are looked at, and whether earlier requests have ended.
_EVERY_S: Final = 1.0


def _unsaid(level: int, message: str, *arguments: object) -> None:
    """Log nothing."""


class Reloader:
    """Reloads the configuration of an `app` that runs with its `share` of `running`, which was read from `source`.

    await reloader.run()        # until it is cancelled
    reloader.request()          # from a signal handler
    """

    def __init__(
        self,
        app: Gateway,
        running: Configuration,
        source: Source,
        *,
        metrics: Metrics,
        share: Share = WHOLE,
        warns: bool = True,
        every_s: float = _EVERY_S,
    ) -> None:
        self._app = app
        self._running = running
        self._source = source
        self._metrics = metrics
        self._share = share
        # Of several workers, one says what all of them find.
        self._log = logger.log if warns else _unsaid
        self._every_s = every_s
        self._requested = False
        self._wake = asyncio.Event()
        self._closing: list[asyncio.Task[None]] = []
        self._checking: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def request(self) -> None:
        """Ask for a reload. Any number of requests before it begins are one."""
        self._requested = True

    def tick(self) -> None:
        """Begin a reload that was requested. Called several times a second: a signal handler cannot wake the loop."""
        if self._requested:
            self._wake.set()

    async def run(self) -> None:
        """Reload when it is requested and when the files change."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await self._wake.wait()
                self._wake.clear()
                changed = await asyncio.to_thread(self._source.has_changed)
                if self._requested or changed:
                    self._requested = False
                    await self.reload()
        finally:
            tasks = (self._checking, *self._closing)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Read the configuration and change to it, or log why it is refused."""
        try:
            change, pair = await asyncio.to_thread(self._prepare)
        except ConfigError as error:
            self._metrics.reloads.refused()
            self._log(logging.ERROR, "not reloaded, earlier settings and keys hold: %s", error)
            return
        except Exception:
            # A fault here must not keep the server from reading a later file.
            self._metrics.reloads.refused()
            logger.exception("not reloaded, earlier settings and keys hold")
            return
        self._change(change, pair)
        self._metrics.reloads.succeeded()
        if {"actor", "refiner"} & set(change.changed):
            self._checking.cancel()
            # Beside the next reload, because an upstream can keep silent.
            self._checking = asyncio.create_task(self._check_upstreams(change.configuration.settings))

    async def _check_upstreams(self, settings: Settings) -> None:
        for problem in await upstream_problems(settings):
            self._log(logging.WARNING, "%s", problem)

    def _prepare(self) -> tuple[Change, ServedPair]:
        change = change_of(self._running, self._source.read())
        pair = self._app.pair
        if any(name in change.changed for name in ("actor", "refiner", "model", "templates", "refine", "prices")):
            earlier = OpenPair(self._app.state.settings, pair)
            settings = change.configuration.divided(self._share).settings
            pair = build_pair(settings, self._metrics.upstreams.of, earlier=earlier)
        check_pair(change.configuration.settings, change.configuration.keyring, pair)
        return change, pair

    def _change(self, change: Change, pair: ServedPair) -> None:
        earlier = self._app.pair
        self._running = change.configuration
        divided = change.configuration.divided(self._share)
        needs_restart = (*change.needs_restart, *self._app.change(divided.settings, divided.keyring, pair))
        if pair is not earlier:
            self._closing = [task for task in self._closing if not task.done()]
            generation = self._app.state.gate.draining.next_generation()
            closing = self._close(earlier, pair, generation, after=tuple(self._closing))
            self._closing.append(asyncio.get_running_loop().create_task(closing))
            self._forget_replicas()
        self._log(logging.INFO, "reloaded: %s", ", ".join(change.changed) or "nothing has changed")
        if needs_restart:
            self._log(logging.WARNING, "needs a restart: %s", ", ".join(needs_restart))

    async def _close(
        self, earlier: ServedPair, pair: ServedPair, generation: Generation, *, after: Sequence[asyncio.Task[None]]
    ) -> None:
        """Close the models that `pair` does not share, once the requests that use them have ended.

        Requests from before an earlier change, which `after` waits for, can use them too.
        """
        try:
            await asyncio.gather(*after)
            # Polled, because an event would be work for every request.
            while generation.running:  # noqa: ASYNC110
                await asyncio.sleep(self._every_s)
        finally:
            await earlier.aclose(but=pair)
            self._forget_replicas()

    def _forget_replicas(self) -> None:
        """Report nothing of replicas that are no longer among the upstreams."""
        settings: Settings = self._app.state.settings
        for role, model in (("actor", settings.actor), ("refiner", settings.refiner)):
            self._metrics.upstreams.keep(role, len(model.url) if isinstance(model, Upstream) else 0)
