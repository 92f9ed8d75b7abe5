"""docker-compose.yml as Compose itself reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import PROFILES, ROOT, services, words


def compose_command() -> list[str]:
    """Docker's plugin, or the program of that name beside this Python."""
    beside = str(Path(sys.executable).with_name("docker-compose"))
    for command in (["docker", "compose"], [beside]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    pytest.skip("Compose is not installed")


def config(*options: str) -> dict[str, Any]:
    """What Compose makes of the file where no variable is set."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [*compose_command(), *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def plain(environment: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_reads_the_file_as_the_other_tests_do(profile: str) -> None:
    made, expected = config("--profile", profile)["services"], services(profile)
    assert set(made) == set(expected)
    for name, service in expected.items():
        assert plain(made[name].get("environment", {})) == plain(service.get("environment", {}))
        assert (made[name]["command"] or []) == words(service.get("command", []))
        published = [f"{port['host_ip']}:{port['published']}:{port['target']}" for port in made[name].get("ports", [])]
        assert published == service.get("ports", [])


def test_the_embedded_profile_is_what_starts_without_an_option() -> None:
    assert config() == config("--profile", "embedded")
