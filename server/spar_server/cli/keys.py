"""`spar keys new`: a fresh API key, and the entry that makes a server know it."""

from __future__ import annotations

import typer
from pydantic import ValidationError

from spar_core.errors import ConfigError
from spar_server.auth.keyring import new_secret, sha256_of
from spar_server.settings import ApiKey


def run(name: str) -> None:
    """Print them. The entry alone goes to the standard output, so that it can be appended to the file.

    Raises:
        ConfigError: a key cannot have this name.
    """
    secret = new_secret()
    try:
        key = ApiKey(name=name, sha256=sha256_of(secret))
    except ValidationError as error:
        raise ConfigError(f"the name {name!r} must be 1 to 64 letters, digits and ._-") from error
    typer.echo(f"The key of {key.name}, which is shown only now:\n\n{secret}\n", err=True)
    typer.echo("Add this to the file that keys_file (or --keys-file) names:\n", err=True)
    typer.echo(f'[[keys]]\nname = "{key.name}"\nsha256 = "{key.sha256}"')
