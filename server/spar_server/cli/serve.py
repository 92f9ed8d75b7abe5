"""`spar serve`: settings, models, server."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import uvicorn

from spar_core.errors import ConfigError
from spar_server.app import create_app
from spar_server.pair import Pair, build_pair
from spar_server.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Flags:
    """The command line; None is a flag that was not given."""

    host: str | None = None
    port: int | None = None
    actor_url: str | None = None
    actor_model: str | None = None
    refiner_url: str | None = None
    refiner_model: str | None = None
    model: str | None = None
    templates: str | None = None
    refine_budget: int | None = None

    def settings(self) -> dict[str, Any]:
        """As settings keys, without what was not given."""
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "model": self.model,
            "templates": self.templates,
            "actor": _upstream("actor", self.actor_url, self.actor_model),
            "refiner": _upstream("refiner", self.refiner_url, self.refiner_model),
            "refine": None if self.refine_budget is None else {"refine_budget": self.refine_budget},
        }
        return {name: value for name, value in given.items() if value is not None}


def _upstream(role: str, url: str | None, model: str | None) -> dict[str, str] | None:
    if url is None and model is None:
        return None
    if url is None or model is None:
        raise ConfigError(f"--{role}-url and --{role}-model go together; give both")
    return {"url": url, "model": model}


class _Server(uvicorn.Server):
    """Says when it is ready, and on which port."""

    def __init__(self, config: uvicorn.Config, pair: Pair) -> None:
        super().__init__(config)
        self._pair = pair

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            typer.echo(_greeting(f"http://{host}:{port}", self._pair.name))


def _greeting(url: str, model: str) -> str:
    request = (
        f'{{"model": "{model}", "refine_budget": 8, "messages": [{{"role": "user", "content": '
        '"Tell me about the river. Do not use commas. Include the words lamp and bell. '
        'Write at least 4 sentences."}]}'
    )
    return (
        f"SPaR Server is ready on {url} with the model {model}.\nTry:\n\n"
        f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{request}'\n\n"
        "or, to watch it think: spar chat" + ("" if url.endswith(":8000") else f" --url {url}")
    )


def run(flags: Flags, file: str | None) -> None:
    """Serve until told to stop.

    Raises:
        ConfigError: a setting is wrong.
    """
    settings: Settings = load_settings(flags.settings(), Path(file) if file else None)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    pair = build_pair(settings)
    app = create_app(settings, pair)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        timeout_graceful_shutdown=int(settings.shutdown_grace_s),
    )
    _Server(config, pair).run()
