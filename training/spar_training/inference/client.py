"""Open a model for a job: a folder, run by the embedded engine, or a name at one or many OpenAI-compatible URLs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from spar_core.backends.base import Backend
from spar_core.backends.in_process.backend import InProcessBackend
from spar_core.backends.in_process.opening import EngineLimits, open_model
from spar_core.cpu import physical_memory_mib, usable_cores
from spar_core.errors import ConfigError

# A job has the machine to itself, but for its trainings: its models' keys and values may have this part of it.
_SHARE_OF_MEMORY: Final = 8


@asynccontextmanager
async def opened(
    model: str,
    *,
    urls: Sequence[str] = (),
    key_env: str = "OPENAI_API_KEY",
    in_flight: int = 256,
    threads: int | None = None,
    answer_s: float | None = None,
) -> AsyncIterator[Backend]:
    """The model as a backend, closed at the end; at most `in_flight` calls at once at each place.

    With `urls` (each ends in `/v1` or the like), `model` is its name there, and the environment variable `key_env`
    holds the API key if one is needed; an answer may take `answer_s` seconds (default that of `Timeouts`). Without,
    `model` is a folder, run on `threads` CPU cores (default all).

    Raises:
        ConfigError: a URL is none, or there are no URLs and no model in the folder.
    """
    backend = _by_url(model, urls, key_env, in_flight, answer_s) if urls else _in_process(model, in_flight, threads)
    try:
        yield backend
    finally:
        await backend.aclose()


def check_urls(urls: Sequence[str]) -> None:
    """Refuse what no call can reach.

    Raises:
        ConfigError: one is no HTTP address.
    """
    for url in urls:
        if not _is_address(url):
            raise ConfigError(f"--url {url!r}: must be an address such as http://127.0.0.1:8000/v1")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _by_url(model: str, urls: Sequence[str], key_env: str, in_flight: int, answer_s: float | None) -> Backend:
    from spar_core.backends.openai import OpenAIBackend, Timeouts
    from spar_core.backends.pool import PoolBackend
    from spar_core.backends.wrappers.adaptive import AdaptiveBackend

    check_urls(urls)
    key, timeouts = os.environ.get(key_env), Timeouts()
    if answer_s is not None:
        # The bound of every call must not end an answer that has more time.
        timeouts = replace(timeouts, answer=answer_s, total=max(timeouts.total, answer_s))
    pool = PoolBackend(
        [OpenAIBackend(base_url=url, model=model, api_key=key, timeouts=timeouts) for url in urls],
        max_concurrency=in_flight,
    )
    return AdaptiveBackend(pool, in_flight=in_flight * len(urls))


def _in_process(model: str, in_flight: int, threads: int | None) -> Backend:
    if not Path(model).is_dir():
        raise ConfigError(f"{model}: no such folder; give the --url of a server for a model by name")
    # However many are in flight: those that the memory does not hold wait.
    memory = physical_memory_mib() // _SHARE_OF_MEMORY
    limits = EngineLimits(slots=in_flight, cache_mib=memory, threads=threads or usable_cores())
    return InProcessBackend(open_model(Path(model), limits=limits).adapted(None), Path(model).name)
