"""server/deploy/Dockerfile and its lock files against the code."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spar_core.model_catalog import base_model
from spar_core.model_folder import DEFAULT_PAIR, base_name, named_folder
from tests.support.deployment import (
    DEPLOY,
    ROOT,
    dockerfile,
    image_environment,
    keys_file,
    parses,
    paths,
    settings_of,
    url_in,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COPIED = [
    source
    for name, rest in dockerfile()
    if name == "COPY" and not rest.startswith("--from")
    for source in shlex.split(rest)[:-1]
]


def instruction(name: str) -> str:
    """The argument of the last instruction of that name, on which the image's last stage goes by."""
    return [rest for each, rest in dockerfile() if each == name][-1]


def locked(name: str) -> dict[str, str]:
    """Versions in a lock file by package."""
    text = (DEPLOY / "locks" / f"{name}.txt").read_text()
    return {canonicalize_name(package): version for package, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)}


def test_both_stages_are_of_one_pinned_image() -> None:
    arguments = dict(rest.split("=") for name, rest in dockerfile() if name == "ARG")
    assert re.fullmatch(r"3\.12\.\d+", arguments["PYTHON_VERSION"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", arguments["PYTHON_DIGEST"])
    stages = [rest.removesuffix(" AS build") for name, rest in dockerfile() if name == "FROM"]
    assert stages == ["python:${PYTHON_VERSION}-slim-bookworm@${PYTHON_DIGEST}"] * 2


def test_it_runs_spar_serve_as_a_user_without_rights() -> None:
    assert instruction("USER") == "10001:10001"
    assert parses(json.loads(instruction("CMD")))
    (script,) = json.loads(instruction("ENTRYPOINT"))
    assert script in PROJECT["project"]["scripts"]


def test_its_variables_are_settings_and_its_port_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of({**image_environment(), "SPAR_KEYS_FILE": str(keys_file(tmp_path))}, monkeypatch)
    assert settings.host == "0.0.0.0"
    assert instruction("EXPOSE") == str(settings.port)


def test_its_health_check_asks_a_route_of_the_server() -> None:
    port, path = url_in([instruction("HEALTHCHECK")])
    assert str(port) == instruction("EXPOSE")
    assert path in paths()


def test_the_cache_is_a_volume() -> None:
    assert instruction("VOLUME") == image_environment()["SPAR_CACHE"]


def test_all_packages_of_the_wheel_are_copied() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    files = ["pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]]
    assert {source.rstrip("/") for source in COPIED} == {*packages, *files, "server/deploy/locks"}


def test_the_build_context_is_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {source.rstrip("/") for source in COPIED}
    assert all((ROOT / source).exists() for source in COPIED)
    assert any(fnmatch.fnmatch("spar_core/__pycache__", rule) for rule in rules[1:])


def test_the_lock_has_a_version_of_everything_that_the_server_needs() -> None:
    """If this fails after a dependency has changed: `make lock`."""
    versions = locked("server")
    extras = PROJECT["project"]["optional-dependencies"]
    needed = [each for extra in ("openvino", "traces", "postgres", "otel") for each in extras[extra]]
    for requirement in map(Requirement, [*PROJECT["project"]["dependencies"], *needed]):
        if requirement.name == PROJECT["project"]["name"]:
            continue
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_lock_has_what_the_wheel_is_built_with() -> None:
    versions = locked("build")
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_lock_has_the_base_of_the_default_pair() -> None:
    base = base_name(named_folder(DEFAULT_PAIR))
    assert base is not None
    (line,) = (f"{name}=={version}" for name, version in locked("model").items())
    assert line == base_model(base).package.requirement


@pytest.mark.parametrize("name", ["build", "model", "server"])
def test_every_locked_file_has_a_hash(name: str) -> None:
    text = (DEPLOY / "locks" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
