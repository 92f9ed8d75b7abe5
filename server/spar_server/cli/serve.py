"""`spar serve`: load the settings and the models, run the server, and stop it gracefully."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from spar_core.backends.in_process.opening import require_engine
from spar_core.errors import ConfigError
from spar_core.model_catalog import find_base, pull_shown
from spar_core.model_folder import DEFAULT_PAIR, TINY_PAIR, base_name, named_folder, shadow_warning, shipped_pair
from spar_server.app import create_app
from spar_server.http.server import server_config
from spar_server.metrics.logs import set_up_logging
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import build_pair, check_pair
from spar_server.process.configuration import Configuration, Source
from spar_server.process.probe import upstream_problems, warn, warn_of_upstreams
from spar_server.process.reload import Reloader
from spar_server.process.server import Server, on_hangup
from spar_server.settings import Settings
from spar_server.traces.opening import find_problem as find_trace_problem


@dataclass(frozen=True, slots=True)
class Flags:
    """Values of the command line's flags; None for a flag that was not used."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
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
            workers=self.workers,
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
    """Serve until a signal stops the server, or only `check` the settings, the pair, the upstreams and the database.

    Raises:
        ConfigError: a setting is wrong, or a check finds a problem with the pair, an upstream or the database.
    """
    source = Source(flags.settings(), Path(file) if file else None)
    # Before anything is bound or loaded: without keys a public server must not start.
    configuration = source.read()
    settings = configuration.settings
    set_up_logging(level=settings.log_level, style=settings.log_format, access=settings.access_log)
    # Ignore SIGHUP while the models load. Unlike SIG_IGN, a handler is not inherited by child processes.
    on_hangup(lambda *_: None)
    if not settings.actor and (shadowed := shadow_warning(settings.pair or DEFAULT_PAIR)):
        warn(settings, shadowed)
    if check:
        if problems := [*_pair_problems(settings), *asyncio.run(_problems(configuration))]:
            raise ConfigError("; ".join(problems))
        typer.echo("The settings and the pair are valid, and every upstream and database answers.")
        return
    _allow_files(settings.connections.max_connections)
    if settings.workers > 1:
        _run_workers(configuration, source)
        return
    # When Ctrl-C raises this, the server has already stopped gracefully.
    with suppress(KeyboardInterrupt), _bound(settings) as listeners:
        metrics = Metrics()
        if (settings := _with_base(settings)) is not configuration.settings:
            source.override(pair=settings.pair)
            configuration = Configuration(settings, configuration.keyring)
        pair = build_pair(settings, metrics.upstreams.of)
        app = create_app(settings, pair, metrics, keyring=configuration.keyring)
        metrics.workers.started(replaces=False)
        sockets = listeners.listen()

        async def on_ready(server: Server) -> None:
            await warn_of_upstreams(settings)
            _greet(configuration, sockets[0], pair.name)

        make_reloader = partial(Reloader, app, configuration, source, metrics=metrics)
        config = server_config(app, settings)
        Server(config, app.state.gate.draining, make_reloader=make_reloader, on_ready=on_ready).run(sockets)


def _pair_problems(settings: Settings) -> list[str]:
    try:
        check_pair(settings)
    except ConfigError as error:
        return [str(error)]
    return []


async def _problems(configuration: Configuration) -> list[str]:
    settings = configuration.settings
    upstreams, traces = await asyncio.gather(
        upstream_problems(settings),
        find_trace_problem(settings.traces, configuration.keyring, batches=settings.batches.enabled),
    )
    return upstreams if traces is None else [*upstreams, traces]


def _run_workers(configuration: Configuration, source: Source) -> None:
    try:
        from spar_server.process.supervisor import Supervisor
    except ImportError as error:
        raise ConfigError("workers: several processes need a Unix system; set workers to 1") from error
    with _bound(configuration.settings) as listeners:
        sockets = listeners.listen()
        greet = partial(_greet, configuration, sockets[0])
        stopped_by = Supervisor(configuration, source, sockets, on_ready=greet).run()
    if stopped_by == signal.SIGTERM:
        # As a server without workers does, and as whoever sent it expects.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Listeners:
    """The addresses of a server with their sockets, which do not listen yet."""

    addresses: list[_Address]
    sockets: list[socket.socket]

    def listen(self) -> list[socket.socket]:
        for address, bound in zip(self.addresses, self.sockets, strict=True):
            try:
                bound.listen()
            except OSError as error:
                # Another process can bind the same port before either listens.
                raise address.refused(error) from error
        return self.sockets


@contextmanager
def _bound(settings: Settings) -> Iterator[_Listeners]:
    with ExitStack() as stack:
        addresses = _addresses(settings)
        yield _Listeners(addresses, [stack.enter_context(address.bind()) for address in addresses])


def _greet(configuration: Configuration, listener: socket.socket, model: str) -> None:
    host, port = listener.getsockname()[:2]
    example = _example(configuration.settings)
    typer.echo(_greeting(_url(host, port), model, example, keyed=configuration.keyring is not None))
