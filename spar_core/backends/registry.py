"""Backends that a server's settings select by name: those of this package in `BACKENDS`, and those of other packages.

Each is a function that takes the settings' `options` as keyword arguments and returns a `Backend`. In this package its
line is `"echo": "spar_core.backends.echo:open_backend"`, imported on first use. Another package names it by an entry
point:

    [project.entry-points."spar.backends"]
    acme = "acme_engine:open_backend"

The engines that have settings of their own (`url`, `vllm`, `pair`) are opened by `spar_server.models` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from spar_core.backends.base import Backend
from spar_core.errors import ConfigError
from spar_core.plugins import Registry

BACKENDS: Final[Registry[Callable[..., Backend]]] = Registry("spar.backends", {}, kind="backend")


def open_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """The backend registered as `name`, with its options as keyword arguments.

    Raises:
        ConfigError: the name is not registered, or its backend does not accept the options.
    """
    factory = BACKENDS.find(name)
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"backend {name!r}: its options are not accepted: {error}") from error
