"""`spar keys new`: create an API key and its entry for the keys file."""

from __future__ import annotations

import typer
from pydantic import ValidationError

from spar_core.errors import ConfigError
from spar_server.auth.keyring import new_secret, sha256_of
from spar_server.settings import ApiKey


def run(name: str) -> None:
    """Print a new key and its entry. Only the entry goes to standard output, so it can be appended to the keys file.

    Raises:
        ConfigError: the name is not valid.
    """
    secret = new_secret()
    try:
        key = ApiKey(name=name, sha256=sha256_of(secret))
    except ValidationError as error:
        raise ConfigError(f"the name {name!r} must be 1 to 64 letters, digits and ._-") from error
    typer.echo(f"The key of {key.name}, which is not shown again:\n\n{secret}\n", err=True)
    typer.echo("Add this to the file named by keys_file (or --keys-file):\n", err=True)
    typer.echo(f'[[keys]]\nname = "{key.name}"\nsha256 = "{key.sha256}"')
