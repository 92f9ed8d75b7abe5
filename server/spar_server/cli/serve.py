"""`spar serve`: settings, models, server."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import typer
import uvicorn

from spar_core.backends.in_process.opening import require_engine
from spar_core.errors import ConfigError
from spar_core.model_catalog import find_base
from spar_core.model_folder import DEFAULT_PAIR, TINY_PAIR, base_name, named_folder
from spar_server.admission.draining import Draining
from spar_server.app import create_app
from spar_server.auth.keyring import load_keyring
from spar_server.cli.models import pull_shown
from spar_server.cli.probe import upstream_problems
from spar_server.http.server import server_config
from spar_server.metrics.logs import set_up_logging
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import Pair, build_pair
from spar_server.settings import Settings, load_settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flags:
    """The command line; None is a flag that was not given."""

    host: str | None = None
    port: int | None = None
    pair: str | None = None
    actor_url: list[str] | None = None
    actor_model: str | None = None
    refiner_url: list[str] | None = None
    refiner_model: str | None = None
    actor_vllm: str | None = None
    actor_adapter: str | None = None
    refiner_vllm: str | None = None
    refiner_adapter: str | None = None
    model: str | None = None
    templates: str | None = None
    refine_budget: int | None = None
    keys_file: str | None = None
    no_auth: bool = False

    def settings(self) -> dict[str, Any]:
        """As settings keys, without what was not given."""
        return _given(
            host=self.host,
            port=self.port,
            pair=self.pair,
            model=self.model,
            templates=self.templates,
            actor=_given(url=self.actor_url, model=self.actor_model, vllm=self.actor_vllm, adapter=self.actor_adapter),
            refiner=_given(
                url=self.refiner_url, model=self.refiner_model, vllm=self.refiner_vllm, adapter=self.refiner_adapter
            ),
            refine=_given(refine_budget=self.refine_budget),
            keys_file=self.keys_file,
            auth="off" if self.no_auth else None,
        )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


class _Server(uvicorn.Server):
    """Says when it is ready, and on which port; closes the port only when what runs has ended."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, pair: Pair, draining: Draining, *, keyed: bool
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._pair = pair
        self._keyed = keyed
        self._draining = draining
        self._reload_due = False
        self._says_why = self._said = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        told_before = self._draining.begun
        super().handle_exit(sig, frame)
        self._draining.begin()
        self._says_why = sig == signal.SIGINT
        # The first time it is not yet the end.
        self.should_exit = told_before

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """SIGHUP asks for `reload`, at the next tick: a signal handler can do little."""
        self._reload_due = True

    def reload(self) -> None:
        """What SIGHUP asks for. Settings are read at the start only, so nothing changes."""
        logger.warning("SIGHUP: nothing was reloaded; settings and keys are read at the start")

    async def on_tick(self, counter: int) -> bool:
        if self._reload_due:
            self._reload_due = False
            self.reload()
        # Asked first: what is due is due even when it is the end.
        over = self._draining.tick()
        if not over and (why := self._draining.waiting_for()):
            self._say(why)
        return await super().on_tick(counter) or over

    def _say(self, why: str) -> None:
        """Say once what the server waits for: to who pressed Ctrl-C, else in the log."""
        if self._said:
            return
        self._said = True
        if self._says_why:
            typer.echo(f"Stopping: {why}. Press Ctrl-C again to stop at once.", err=True)
        else:
            logger.info("stopping: %s; a second signal stops at once", why)

    def _warn(self, problem: str) -> None:
        if self._settings.log_format == "json":
            # Whoever reads objects wants no other lines.
            logger.warning("%s", problem)
        else:
            typer.secho(f"warning: {problem}", fg="yellow", err=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _on_hangup(self.handle_hangup)
        _spare_the_collector()
        if self.started:
            for problem in await upstream_problems(self._settings):
                self._warn(problem)
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            typer.echo(_greeting(_url(host, port), self._pair.name, keyed=self._keyed))


def _on_hangup(handle: Callable[[int, FrameType | None], None]) -> None:
    """Have `handle` called on SIGHUP, where there is such a signal and nobody said to ignore it (`nohup`)."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)


def _spare_the_collector() -> None:
    """What is there at the start stays; to look through it again and again would cost every request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _url(host: str, port: int) -> str:
    """Where a client on this machine finds the server."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def _greeting(url: str, model: str, *, keyed: bool) -> str:
    request = (
        f'{{"model": "{model}", "refine_budget": 8, "seed": 3, "messages": [{{"role": "user", "content": '
        '"Tell me about the river. Do not use commas. Include the words lamp and bell. '
        'Write at least 4 sentences."}]}'
    )
    key = ' -H "Authorization: Bearer $OPENAI_API_KEY"' if keyed else ""
    # In an environment that is not active the command is not found by its name.
    command = "spar" if shutil.which("spar") else sys.argv[0]
    return (
        f"SPaR Server is ready on {url} with the model {model}.\nTry:\n\n"
        f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{request}'\n\n"
        f"or, to watch it think: {command} chat" + ("" if url == "http://127.0.0.1:8000" else f" --url {url}")
    )


@dataclass(frozen=True, slots=True)
class _Address:
    """Where to listen; `fix` names the settings that choose it."""

    host: str
    port: int
    fix: str

    def bind(self) -> socket.socket:
        """The socket, bound before any model is loaded but not listening yet.

        Raises:
            ConfigError: the address is taken, or not this machine's.
        """
        bound = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self.host, self.port))
        except (OSError, TypeError) as error:
            bound.close()
            raise self.refused(error) from error
        return bound

    def refused(self, error: Exception) -> ConfigError:
        # A name that cannot be one at all is no error of the system's.
        why = error.strerror if isinstance(error, OSError) else error
        shown = self.host.encode(errors="backslashreplace").decode()
        return ConfigError(f"cannot listen on {shown} port {self.port}: {why}; choose {self.fix}")


def _addresses(settings: Settings) -> list[_Address]:
    """The server's own, and that of /metrics where it has one."""
    own = _Address(settings.host, settings.port, "--host and --port")
    metrics = settings.metrics
    if metrics.port is None:
        return [own]
    return [own, _Address(metrics.host or settings.host, metrics.port, "metrics.host and metrics.port")]


def _allow_files(connections: int) -> None:
    """Let this process have a file for each connection, and for as many to upstreams, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _with_base(settings: Settings) -> Settings:
    """Have the pair's base on this machine; where the default pair's cannot be had, serve the tiny pair and say so.

    Raises:
        ConfigError: a pair that was asked for has a base that cannot be had.
    """
    if settings.actor:
        return settings
    require_engine()
    base = base_name(named_folder(settings.pair or DEFAULT_PAIR))
    if base is None or find_base(base) is not None:
        return settings
    try:
        pull_shown(base)
    except ConfigError as error:
        if settings.pair:
            raise
        typer.echo(f"Serving the tiny pair, since the default one lacks its base: {error}", err=True)
        return settings.model_copy(update={"pair": TINY_PAIR})
    return settings


def run(flags: Flags, file: str | None, *, check: bool = False) -> None:
    """Serve until told to stop; or only `check` the settings and the upstreams.

    Raises:
        ConfigError: a setting is wrong; or, of a check, an upstream.
    """
    settings: Settings = load_settings(flags.settings(), Path(file) if file else None)
    set_up_logging(level=settings.log_level, style=settings.log_format, access=settings.access_log)
    # While models are loaded there is nothing to reload yet. Unlike SIG_IGN this is not inherited by child processes.
    _on_hangup(lambda *_: None)
    # Before anything is bound or loaded: a server that would serve everyone must not start.
    keyring = load_keyring(settings)
    if check:
        if problems := asyncio.run(upstream_problems(settings)):
            raise ConfigError("; ".join(problems))
        typer.echo("The settings are valid, and every upstream answers.")
        return
    _allow_files(settings.connections.max_connections)
    # Ctrl-C has stopped the server in good order by the time it gets here.
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        addresses = _addresses(settings)
        sockets = [stack.enter_context(address.bind()) for address in addresses]
        metrics = Metrics()
        settings = _with_base(settings)
        pair = build_pair(settings, metrics.upstreams.of)
        app = create_app(settings, pair, metrics)
        for address, bound in zip(addresses, sockets, strict=True):
            try:
                bound.listen()
            except OSError as error:
                # Two may have bound the same port before either listened.
                raise address.refused(error) from error
        config = server_config(app, settings)
        _Server(config, settings, pair, app.state.gate.draining, keyed=keyring is not None).run(sockets)
