"""`spar serve`: load the settings and the models, run the server, and stop it gracefully."""

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
from typing import Any, Final

import typer
import uvicorn

from spar_core.backends.in_process.opening import require_engine
from spar_core.errors import ConfigError
from spar_core.model_catalog import find_base
from spar_core.model_folder import DEFAULT_PAIR, TINY_PAIR, base_name, named_folder, shipped_pair
from spar_server.admission.draining import Draining
from spar_server.app import create_app
from spar_server.auth.keyring import load_keyring
from spar_server.cli.models import pull_shown
from spar_server.cli.probe import upstream_problems
from spar_server.http.server import server_config
from spar_server.metrics.logs import set_up_logging
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair, build_pair
from spar_server.settings import Settings, load_settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flags:
    """Values of the command line's flags; None for a flag that was not used."""

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
        """The flags as settings, without the unused ones."""
        return _drop_unset(
            host=self.host,
            port=self.port,
            pair=self.pair,
            model=self.model,
            templates=self.templates,
            actor=_drop_unset(
                url=self.actor_url, model=self.actor_model, vllm=self.actor_vllm, adapter=self.actor_adapter
            ),
            refiner=_drop_unset(
                url=self.refiner_url, model=self.refiner_model, vllm=self.refiner_vllm, adapter=self.refiner_adapter
            ),
            refine=_drop_unset(refine_budget=self.refine_budget),
            keys_file=self.keys_file,
            auth="off" if self.no_auth else None,
        )


def _drop_unset(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


class _Server(uvicorn.Server):
    """Prints a greeting when it is ready, and drains before it closes the port."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, pair: ServedPair, draining: Draining, *, keyed: bool
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._pair = pair
        self._keyed = keyed
        self._draining = draining
        self._reload_due = False
        self._interrupted = self._reported = False
        self._signals = 0

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
        self._reload_due = True

    def reload(self) -> None:
        """Warn that nothing is reloaded: settings are read only at startup."""
        logger.warning("SIGHUP: nothing was reloaded; settings and keys are read only at startup")

    async def on_tick(self, counter: int) -> bool:
        if self._reload_due:
            self._reload_due = False
            self.reload()
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

    def _warn(self, problem: str) -> None:
        if self._settings.log_format == "json":
            # In this format every line must be an object.
            logger.warning("%s", problem)
        else:
            typer.secho(f"warning: {problem}", fg="yellow", err=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _on_hangup(self.handle_hangup)
        _freeze_startup_objects()
        if self.started:
            for problem in await upstream_problems(self._settings):
                self._warn(problem)
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            typer.echo(_greeting(_url(host, port), self._pair.name, _example(self._settings), keyed=self._keyed))


def _on_hangup(handle: Callable[[int, FrameType | None], None]) -> None:
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


def _url(host: str, port: int) -> str:
    """The server's URL for a client on this machine."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


# The tiny pair knows only the words of its small world, and with seed 3 its draft needs a refinement.
_TINY_EXAMPLE: Final = (
    "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences."
)
_EXAMPLE: Final = "Describe a walk along a river in 3 sentences. Do not use commas. Include the words lamp and bell."


def _example(settings: Settings) -> str:
    """A prompt that suits the served pair."""
    is_tiny = not settings.actor and named_folder(settings.pair or DEFAULT_PAIR) == shipped_pair()
    return _TINY_EXAMPLE if is_tiny else _EXAMPLE


def _greeting(url: str, model: str, prompt: str, *, keyed: bool) -> str:
    message = f'{{"role": "user", "content": "{prompt}"}}'
    request = f'{{"model": "{model}", "refine_budget": 8, "seed": 3, "messages": [{message}]}}'
    key = ' -H "Authorization: Bearer $OPENAI_API_KEY"' if keyed else ""
    # In an inactive virtual environment the command is not on the PATH.
    command = "spar" if shutil.which("spar") else sys.argv[0]
    return (
        f"SPaR Server is ready on {url} with the model {model}.\nTry:\n\n"
        f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{request}'\n\n"
        f"or, to watch it search: {command} chat" + ("" if url == "http://127.0.0.1:8000" else f" --url {url}")
    )


@dataclass(frozen=True, slots=True)
class _Address:
    """Where to listen; `fix` names the settings that choose it."""

    host: str
    port: int
    fix: str

    def bind(self) -> socket.socket:
        """Bind a socket before any model is loaded, without listening yet.

        Raises:
            ConfigError: the address is in use or does not belong to this machine.
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
        # An invalid name raises a TypeError or a UnicodeError rather than a system error.
        reason = error.strerror if isinstance(error, OSError) else error
        shown = self.host.encode(errors="backslashreplace").decode()
        return ConfigError(f"cannot listen on {shown} port {self.port}: {reason}; choose {self.fix}")


def _addresses(settings: Settings) -> list[_Address]:
    """The server's address, and that of /metrics if it has its own."""
    own = _Address(settings.host, settings.port, "--host and --port")
    metrics = settings.metrics
    if metrics.port is None:
        return [own]
    return [own, _Address(metrics.host or settings.host, metrics.port, "metrics.host and metrics.port")]


def _allow_files(connections: int) -> None:
    """Raise the limit on open files, if the system allows, to two per connection: the client's and the upstream's."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + 256
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _with_base(settings: Settings) -> Settings:
    """Download the pair's base model if it is missing. If the default pair's cannot be, serve the tiny pair instead.

    Raises:
        ConfigError: the base of a pair that the settings name cannot be downloaded.
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
        typer.echo(f"Serving the tiny pair because the default pair's base model is missing: {error}", err=True)
        return settings.model_copy(update={"pair": TINY_PAIR})
    return settings


def run(flags: Flags, file: str | None, *, check: bool = False) -> None:
    """Serve until a signal stops the server, or only `check` the settings and the upstreams.

    Raises:
        ConfigError: a setting is wrong, or a check finds a problem with an upstream.
    """
    settings: Settings = load_settings(flags.settings(), Path(file) if file else None)
    set_up_logging(level=settings.log_level, style=settings.log_format, access=settings.access_log)
    # Ignore SIGHUP while the models load. Unlike SIG_IGN, a handler is not inherited by child processes.
    _on_hangup(lambda *_: None)
    # Before anything is bound or loaded: without keys a public server must not start.
    keyring = load_keyring(settings)
    if check:
        if problems := asyncio.run(upstream_problems(settings)):
            raise ConfigError("; ".join(problems))
        typer.echo("The settings are valid, and every upstream answers.")
        return
    _allow_files(settings.connections.max_connections)
    # When Ctrl-C raises this, the server has already stopped gracefully.
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
                # Another process can bind the same port before either listens.
                raise address.refused(error) from error
        config = server_config(app, settings)
        _Server(config, settings, pair, app.state.gate.draining, keyed=keyring is not None).run(sockets)
