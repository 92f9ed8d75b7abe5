"""Check the configured upstreams before the first request, and after they have changed."""

from __future__ import annotations

import asyncio
import logging

import typer

from spar_core.backends.openai import find_problem, without_password
from spar_server.settings import Settings, Upstream

logger = logging.getLogger(__name__)


async def upstream_problems(settings: Settings) -> list[str]:
    """One sentence, with the fix, for each replica that is unusable as configured. All are probed concurrently."""
    replicas = [
        (role, url, upstream)
        for role, upstream in (("actor", settings.actor), ("refiner", settings.refiner))
        if isinstance(upstream, Upstream)
        for url in upstream.url
    ]
    found = await asyncio.gather(*(_problem(url, upstream) for _, url, upstream in replicas))
    return [
        f"{role}: {without_password(url)}: {problem}"
        for (role, url, _), problem in zip(replicas, found, strict=True)
        if problem is not None
    ]


async def warn_of_upstreams(settings: Settings) -> None:
    """Say which replicas are unusable as configured."""
    for problem in await upstream_problems(settings):
        warn(settings, problem)


def warn(settings: Settings, problem: str) -> None:
    """Say what is wrong: on the terminal, or in a log that consists of objects."""
    if settings.log_format == "json":
        logger.warning("%s", problem)
    else:
        typer.secho(f"warning: {problem}", fg="yellow", err=True)


async def _problem(url: str, upstream: Upstream) -> str | None:
    key = upstream.api_key.get_secret_value() if upstream.api_key else None
    return await find_problem(url, model=upstream.model, api_key=key)
