"""What a server is started with: its settings and its API keys, and which files they came from.

    source = Source(flags, file)
    running = source.read()
    ...
    change = change_of(running, source.read())

A change that a running server cannot make is left out of it and named in `change.needs_restart`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from spar_server.auth.keyring import Keyring, load_keyring
from spar_server.process.division import WHOLE, Share, check_divisible, divide_keys, divide_settings
from spar_server.settings import DEFAULT_FILE, Settings, Upstream, load_settings

# Settings that a running server can change; `actor` and `refiner` only while other servers run the models.
RELOADABLE: Final = ("keys", "keys_file", "actor", "refiner", "model", "models", "prices", "templates", "refine")

# A file's modification time, size and number; None for one that is not there.
_Stat = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Valid settings, and the API keys of the settings and the keys file together."""

    settings: Settings
    keyring: Keyring | None

    def divided(self, share: Share) -> Configuration:
        """What one of several workers runs with."""
        if share == WHOLE:
            return self
        return Configuration(divide_settings(self.settings, share), divide_keys(self.keyring, share))


class Source:
    """Where the configuration comes from: flags, a file of settings (by default ./spar.toml), a file of keys."""

    def __init__(self, flags: Mapping[str, Any], file: Path | None) -> None:
        self._flags = flags
        self._file = file
        self._keys_file: Path | None = None
        # The files as they were when they were read, and as they were last seen.
        self._read: tuple[_Stat, ...] = ()
        self._seen: tuple[_Stat, ...] = ()

    def read(self) -> Configuration:
        """Read everything.

        Raises:
            ConfigError: a file, a setting or a key is invalid; names it and the fix.
        """
        # Each before it is read: what is written from then on is a change.
        self._read = self._stats()
        settings = load_settings(self._flags, self._file)
        if settings.keys_file != self._keys_file:
            self._keys_file = settings.keys_file
            self._read = (self._read[0], _stat(self._keys_file))
        keyring = load_keyring(settings)
        if settings.workers > 1:
            check_divisible(settings, keyring)
        return Configuration(settings, keyring)

    def override(self, **flags: Any) -> None:
        """Read these as if they had been flags."""
        self._flags = {**self._flags, **flags}

    def has_changed(self) -> bool:
        """Whether a file has been written or replaced since it was read, and not again since the last call.

        Files are polled because a notification misses some of the ways in which they are replaced, such as that of
        Kubernetes. A file that is being written is read when it is complete.
        """
        before, self._seen = self._seen, self._stats()
        return self._seen == before and self._seen != self._read

    def _stats(self) -> tuple[_Stat, ...]:
        return _stat(self._file or DEFAULT_FILE), _stat(self._keys_file)


def _stat(file: Path | None) -> _Stat:
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True, slots=True)
class Change:
    """What a running server changes to; `changed` are the settings in which it differs from what it had."""

    configuration: Configuration
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def change_of(running: Configuration, read: Configuration) -> Change:
    """The part of the newly read configuration that a running server can change to.

    Raises:
        ConfigError: its workers cannot divide a limit.
    """
    changes: dict[str, Any] = {}
    needs_restart: list[str] = []
    for name in Settings.model_fields:
        old, new = getattr(running.settings, name), getattr(read.settings, name)
        if old == new:
            continue
        if name in RELOADABLE and _can_change(name, old, new):
            changes[name] = new
        else:
            needs_restart += _differing(name, old, new)
    keyring, keyed = read.keyring, read.keyring is not None
    if keyed != (running.keyring is not None):
        needs_restart.append("keys (a first key, or none any more)")
        keyring = running.keyring
        for name in ("keys", "keys_file"):
            changes.pop(name, None)
    changed = list(changes)
    if _keys(keyring) != _keys(running.keyring) and not {"keys", "keys_file"} & changes.keys():
        changed.append("keys")
    settings = running.settings.model_copy(update=changes)
    if settings.workers > 1:
        # As many as there are, not as many as the file now says.
        check_divisible(settings, keyring)
    return Change(Configuration(settings, keyring), tuple(changed), tuple(needs_restart))


def _keys(keyring: Keyring | None) -> tuple[Any, ...]:
    return tuple(keyring or ())


def _can_change(name: str, old: Any, new: Any) -> bool:
    if name not in ("actor", "refiner"):
        return True
    # A refiner can come and go; without an actor, the models are in this process.
    optional = name == "refiner"
    return all(isinstance(model, Upstream) or (optional and model is None) for model in (old, new))


def _differing(name: str, old: Any, new: Any) -> list[str]:
    """The setting, or those of its fields that differ."""
    if not (isinstance(old, BaseModel) and type(old) is type(new)):
        return [name]
    return [f"{name}.{field}" for field in type(old).model_fields if getattr(old, field) != getattr(new, field)]
