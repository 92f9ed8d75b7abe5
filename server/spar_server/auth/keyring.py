"""API keys: who can use the server, and with which defaults.

A key is 256 random bits, and only its SHA-256 is stored. A slow hash would protect a guessable password; for 256 random
bits it adds nothing, and it would slow every request down.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import format_validation_error
from spar_server.settings import ApiKey, Limits, RefineDefaults, Settings

# The identity of all requests to a server without keys. No key has this hash.
ANONYMOUS: Final = ApiKey(name="anonymous", sha256="0" * 64)


class Keyring:
    """All API keys of a server."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, or None. Takes the same time whichever key matches, and if none does."""
        digest, found = sha256_of(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def new_secret() -> str:
    """Generate a new secret."""
    return f"spar-{secrets.token_urlsafe(32)}"


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def defaults_for(key: ApiKey, server: RefineDefaults, limits: Limits) -> RefineDefaults:
    """The defaults and limits for requests of this key."""
    votes = min(server.votes, limits.max_votes, key.max_votes or limits.max_votes)
    if key.refine_budget is None and key.max_refine_budget is None:
        return server if votes == server.votes else server.model_copy(update={"votes": votes})
    limit = server.max_refine_budget if key.max_refine_budget is None else key.max_refine_budget
    budget = server.refine_budget if key.refine_budget is None else key.refine_budget
    return server.model_copy(
        update={"refine_budget": budget, "max_refine_budget": min(limit, server.max_refine_budget), "votes": votes},
    )


def load_keyring(settings: Settings) -> Keyring | None:
    """Load the keys from the settings and the keys file; None for a server without keys.

    Raises:
        ConfigError: a key or the file is invalid, or a server that others can reach has no keys without `auth = "off"`.
    """
    keys = [*settings.keys, *(_read(settings.keys_file) if settings.keys_file else ())]
    if settings.auth == "off":
        if keys:
            raise ConfigError("auth: it is off and there are API keys; remove either")
        return None
    if not keys:
        if settings.keys_file or not is_loopback(settings.host):
            raise ConfigError(
                f"host: {settings.host} with no API key would serve anyone who can reach it; create a key with "
                "`spar keys new NAME` and name its file in keys_file, or switch keys off with --no-auth"
            )
        return None
    _check_unique(keys)
    for key in keys:
        limit = defaults_for(key, settings.refine, settings.limits).max_refine_budget
        if key.refine_budget is not None and key.refine_budget > limit:
            raise ConfigError(
                f"keys: {key.name}: refine_budget is {key.refine_budget}, over max_refine_budget, which is {limit} for "
                "this key; lower one or raise the other"
            )
    return Keyring(keys)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. Of names, only `localhost` counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[ApiKey, ...] = ()


def _read(file: Path) -> tuple[ApiKey, ...]:
    try:
        return _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).keys
    except OSError as error:
        raise ConfigError(f"keys_file: {file}: {error.strerror}; `spar keys new NAME` prints its contents") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"keys_file: {file}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"keys_file: {file}: {format_validation_error(error, whole='it', model=_File)}") from error


def _check_unique(keys: Sequence[ApiKey]) -> None:
    for field, values in (("name", [key.name for key in keys]), ("sha256", [key.sha256 for key in keys])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise ConfigError(f"keys: two keys have the {field} {value}; each needs its own")
    if any(key.name == ANONYMOUS.name for key in keys):
        raise ConfigError(f"keys: the name {ANONYMOUS.name} is reserved for requests without a key; choose another")
