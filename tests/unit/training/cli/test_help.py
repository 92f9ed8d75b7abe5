"""The help of every command of `spar train`, `eval` and `bench` in a terminal of 80 columns."""

from __future__ import annotations

import re

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from spar_training.cli import bench, evaluate, train

GROUPS = {"train": train.app, "eval": evaluate.app, "bench": bench.app}


def commands() -> list[tuple[str, str]]:
    groups = {name: get_command(app) for name, app in GROUPS.items()}
    return [(name, each) for name, group in groups.items() for each in group.list_commands(typer.Context(group))]


@pytest.mark.parametrize(("group", "command"), commands())
def test_no_type_of_an_option_is_broken_over_two_lines(
    group: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    shown = CliRunner().invoke(GROUPS[group], [command, "--help"])
    assert shown.exit_code == 0, shown.output
    types = [line for line in shown.output.splitlines() if re.search(r"--[a-z-]+…? +<", line)]
    assert types
    assert not [line for line in types if not re.search(r" <[a-z|]+(\[[a-z]+\]| [a-z]+)?> ", line, re.IGNORECASE)]
    assert max(map(len, shown.output.splitlines())) <= 80
