"""The files of `docker-compose.yml` and `server/deploy`, read with what they need and nothing more."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from spar_server.app import create_app
from spar_server.cli.main import app as cli
from spar_server.settings import Settings, load_settings
from tests.support.pairs import scripted_pair

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "server/deploy"
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = DEPLOY / "Dockerfile"
CHART = DEPLOY / "helm/spar-server"

PROFILES = ("embedded", "vllm", "vllm-pair")
# ${NAME:-default}
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def with_defaults(value: Any) -> Any:
    """A value of the Compose file where no variable is set."""
    match value:
        case str():
            return VARIABLE.sub(r"\2", value)
        case list():
            return [with_defaults(item) for item in value]
        case dict():
            return {key: with_defaults(item) for key, item in value.items()}
    return value


def compose() -> dict[str, Any]:
    """The Compose file with its variables' defaults."""
    loaded: dict[str, Any] = with_defaults(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))
    return loaded


def services(profile: str) -> dict[str, Any]:
    """The services that a profile starts."""
    every = compose()["services"]
    return {name: service for name, service in every.items() if profile in service.get("profiles", [profile])}


def gateway_of(profile: str) -> dict[str, Any]:
    (gateway,) = (service for name, service in services(profile).items() if name.startswith("gateway"))
    assert isinstance(gateway, dict)
    return gateway


def words(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command)


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, comments and line breaks removed."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def image_environment() -> dict[str, str]:
    """The variables that the image's last stage sets."""
    found: dict[str, str] = {}
    for name, rest in dockerfile():
        if name == "FROM":
            found = {}
        elif name == "ENV":
            found |= dict(item.split("=", 1) for item in shlex.split(rest))
    return found


def settings_of(environment: dict[str, str], patch: pytest.MonkeyPatch, file: Path | None = None) -> Settings:
    """What the server in a container makes of its variables; an unknown one is an error."""
    for name, value in environment.items():
        if name.startswith("SPAR_"):
            patch.setenv(name, str(value))
    return load_settings({}, file)


def keys_file(folder: Path) -> Path:
    """A file with one API key."""
    file = folder / "keys.toml"
    file.write_text(f'[[keys]]\nname = "team"\nsha256 = "{"a" * 64}"\n')
    return file


def parses(arguments: Sequence[str]) -> bool:
    """Whether `spar` has such a command with such options; it is not run."""
    return CliRunner().invoke(cli, [*arguments, "--help"]).exit_code == 0


def paths() -> set[str]:
    """The paths that the server documents."""
    return set(create_app(Settings(), scripted_pair()).openapi()["paths"])


def url_in(test: Sequence[str]) -> tuple[int, str]:
    """Port and path of the URL that a health check asks."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/-]*)", " ".join(test))
    assert found is not None, test
    return int(found[1]), found[2]
