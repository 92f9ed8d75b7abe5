"""Open a model as a backend: a folder in the embedded engine, or a name at one or more OpenAI-compatible URLs.

async with open_backend("small", urls=["http://127.0.0.1:8000/v1"]) as backend:
    answer = await backend.complete(messages, sampling)
"""

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

# The KV cache of a job's models may take this fraction (1/8) of memory; trainings need the rest.
_SHARE_OF_MEMORY: Final = 8


@asynccontextmanager
async def open_backend(
    model: str,
    *,
    urls: Sequence[str] = (),
    key_env: str = "OPENAI_API_KEY",
    in_flight: int = 256,
    threads: int | None = None,
    answer_s: float | None = None,
) -> AsyncIterator[Backend]:
    """The model as a backend that is closed with the block; at most `in_flight` calls at once to each server.

    With `urls` (which end in `/v1` or the like), `model` is its name there, the environment variable `key_env` holds
    the API key if one is needed, and an answer may take `answer_s` seconds (default: that of `Timeouts`). Without URLs,
    `model` is a folder, run on `threads` CPU cores (default: all).

    Raises:
        ConfigError: a URL is invalid, or without URLs the folder holds no model or only an adapter.
    """
    backend = _by_url(model, urls, key_env, in_flight, answer_s) if urls else _in_process(model, in_flight, threads)
    try:
        yield backend
    finally:
        await backend.aclose()


def check_urls(urls: Sequence[str]) -> None:
    """Refuse URLs that no call can reach.

    Raises:
        ConfigError: a URL is not an HTTP address.
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
        # The limit of a call must not cut off an answer that may take longer.
        timeouts = replace(timeouts, answer=answer_s, total=max(timeouts.total, answer_s))
    pool = PoolBackend(
        [OpenAIBackend(base_url=url, model=model, api_key=key, timeouts=timeouts) for url in urls],
        max_concurrency=in_flight,
    )
    return AdaptiveBackend(pool, in_flight=in_flight * len(urls))


def _in_process(model: str, in_flight: int, threads: int | None) -> Backend:
    if not Path(model).is_dir():
        raise ConfigError(f"{model}: no such folder; for a model by name, give the --url of its server")
    if (Path(model) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{model} is an adapter, and only whole models run here; merge it first: "
            f"spar train merge {model} --out FOLDER, then give that folder"
        )
    # Calls that do not fit into the cache wait.
    memory = physical_memory_mib() // _SHARE_OF_MEMORY
    limits = EngineLimits(slots=in_flight, cache_mib=memory, threads=threads or usable_cores())
    return InProcessBackend(open_model(Path(model), limits=limits).adapted(None), Path(model).name)
