"""API keys: who may call, and how much of the server each may use.

A key is 256 random bits, and only its SHA-256 is stored. A slow hash protects what can be guessed, a password; against
2^256 guesses it adds nothing, and would cost every request.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import format_validation_error
from spar_server.settings import ApiKey, Limits, RefineDefaults, Settings

# Who calls where no key is asked for. No key has this hash.
ANONYMOUS: Final = ApiKey(name="anonymous", sha256="0" * 64)


class Keyring:
    """The keys of one server."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """Whose key `secret` is. Takes the same time whichever it is, and if it is none."""
        digest, found = sha256_of(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def new_secret() -> str:
    """A fresh key."""
    return f"spar-{secrets.token_urlsafe(32)}"


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def defaults_for(key: ApiKey, server: RefineDefaults, limits: Limits) -> RefineDefaults:
    """What a request of this key gets that does not say otherwise, and the most that it may ask for."""
    votes = min(server.votes, limits.max_votes, key.max_votes or limits.max_votes)
    if key.refine_budget is None and key.max_refine_budget is None:
        return server if votes == server.votes else server.model_copy(update={"votes": votes})
    most = server.max_refine_budget if key.max_refine_budget is None else key.max_refine_budget
    usual = server.refine_budget if key.refine_budget is None else key.refine_budget
    return server.model_copy(
        update={"refine_budget": usual, "max_refine_budget": min(most, server.max_refine_budget), "votes": votes},
    )


def load_keyring(settings: Settings) -> Keyring | None:
    """The keys of the settings and of their file; None is a server that asks for none.

    Raises:
        ConfigError: the file is wrong; or a server that others can reach has no keys, and was not told to go without.
    """
    keys = [*settings.keys, *(_read(settings.keys_file) if settings.keys_file else ())]
    if settings.auth == "off":
        if keys:
            raise ConfigError("auth: it is off and there are API keys; remove either")
        return None
    if not keys:
        if settings.keys_file or not is_loopback(settings.host):
            raise ConfigError(
                f"host: {settings.host} with no API key would serve everyone who can reach it; make a key with "
                "`spar keys new NAME` and name its file in keys_file, or switch keys off with --no-auth"
            )
        return None
    _refuse_doubles(keys)
    for key in keys:
        most = defaults_for(key, settings.refine, settings.limits).max_refine_budget
        if key.refine_budget is not None and key.refine_budget > most:
            raise ConfigError(
                f"keys: {key.name}: refine_budget is {key.refine_budget}, over max_refine_budget, which is {most} for "
                "this key; lower the one or raise the other"
            )
    return Keyring(keys)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it. A name is believed only if it is `localhost`."""
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
        raise ConfigError(
            f"keys_file: {file}: {error.strerror}; `spar keys new NAME` tells what to put there"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"keys_file: {file}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"keys_file: {file}: {format_validation_error(error, whole='it', model=_File)}") from error


def _refuse_doubles(keys: Sequence[ApiKey]) -> None:
    for what, values in (("name", [key.name for key in keys]), ("sha256", [key.sha256 for key in keys])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise ConfigError(f"keys: two have the {what} {value}; each needs its own")
    if any(key.name == ANONYMOUS.name for key in keys):
        raise ConfigError(f"keys: the name {ANONYMOUS.name} is for those without a key; choose another")
