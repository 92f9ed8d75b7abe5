"""Backends that other packages add by the entry point `spar.backends`.

An entry point names a function that takes the `options` of a server's settings and returns a `Backend`:

    [project.entry-points."spar.backends"]
    acme = "acme_engine:open_backend"
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
        ConfigError: no package registers the name, or its backend does not accept the options.
    """
    factory = BACKENDS.find(name)
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"backend {name!r}: its options are not accepted: {error}") from error
