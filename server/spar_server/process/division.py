"""What each of several workers may use: limits that are divided, so that all workers together keep to them.

Rates and concurrent searches of a key are not divided but counted together (`shared_usage`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_server.auth.keyring import Keyring
from spar_server.settings import ApiKey, Settings, Upstream, VllmModel

# By setting; each worker needs at least one of each.
_DIVIDED: Final = {
    "admission": ("search_capacity", "pass_through_capacity"),
    "connections": ("max_connections", "max_per_address"),
    "actor": ("max_concurrency",),
    "refiner": ("max_concurrency",),
}


@dataclass(frozen=True, slots=True)
class Share:
    """The part of worker `index` among `count`; those of all workers add up to the whole."""

    index: int
    count: int

    def of(self, total: int) -> int:
        return total // self.count + (self.index < total % self.count)


WHOLE: Final = Share(0, 1)


def divide_settings(settings: Settings, share: Share) -> Settings:
    """The settings with this worker's part of each limit that is divided."""
    changes: dict[str, Any] = {}
    for section, totals in _sections(settings):
        changes[section] = getattr(settings, section).model_copy(
            update={name: share.of(total) for name, total in totals.items()}
        )
    admission = changes["admission"]
    changes["admission"] = admission.model_copy(update={"max_queue": share.of(admission.max_queue)})
    limits = settings.limits
    changes["limits"] = limits.model_copy(update={"max_bodies_bytes": share.of(limits.max_bodies_bytes)})
    return settings.model_copy(update=changes)


def divide_keys(keyring: Keyring | None, share: Share) -> Keyring | None:
    """The keys with this worker's part of their concurrent calls."""
    if keyring is None:
        return None
    return Keyring([_divide_key(key, share) for key in keyring])


def _divide_key(key: ApiKey, share: Share) -> ApiKey:
    if key.concurrent_calls is None:
        return key
    return key.model_copy(update={"concurrent_calls": share.of(key.concurrent_calls)})


def check_divisible(settings: Settings, keyring: Keyring | None) -> None:
    """Check that several workers can serve these settings.

    Raises:
        ConfigError: the models run in this process, or a limit cannot be divided; names the setting and the fix.
    """
    workers = settings.workers
    if settings.actor is None or any(isinstance(model, VllmModel) for model in (settings.actor, settings.refiner)):
        raise ConfigError(
            f"workers: {workers} workers would each load the models, which run in this process; serve them from one "
            "process and set its URL as actor.url, or set workers to 1"
        )
    limits = [(f"{section}.{name}", total) for section, each in _sections(settings) for name, total in each.items()]
    limits += [
        (f"keys: {key.name}: concurrent_calls", key.concurrent_calls)
        for key in keyring or ()
        if key.concurrent_calls is not None
    ]
    for name, total in limits:
        if total < workers:
            raise ConfigError(
                f"{name}: {total} cannot be divided among {workers} workers; raise it to at least {workers}, or start "
                "fewer workers"
            )


def _sections(settings: Settings) -> Iterator[tuple[str, dict[str, int]]]:
    for section, names in _DIVIDED.items():
        value = getattr(settings, section)
        if section not in ("actor", "refiner") or isinstance(value, Upstream):
            yield section, {name: getattr(value, name) for name in names}
