"""What of a changed configuration a running server changes to, and when a file counts as changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import ConfigError
from spar_server.auth.keyring import sha256_of
from spar_server.process.configuration import Configuration, Source, change_of

ACTOR = {"url": "http://one/v1", "model": "m"}


def read(**flags: Any) -> Configuration:
    return Source(flags, None).read()


def key(name: str, **limits: Any) -> dict[str, Any]:
    return {"name": name, "sha256": sha256_of(name), **limits}


def test_upstreams_refine_defaults_and_keys_change() -> None:
    running = read(actor=ACTOR, keys=[key("ann")])
    new = {"url": "http://two/v1", "model": "m"}
    change = change_of(running, read(actor=new, refiner=ACTOR, refine={"votes": 3}, keys=[key("ann", max_n=2)]))
    assert change.changed == ("actor", "refiner", "refine", "keys")
    assert change.needs_restart == ()
    assert change.configuration.settings.refine.votes == 3
    assert [one.max_n for one in change.configuration.keyring or ()] == [2]


def test_what_needs_a_restart_is_named_and_stays_while_the_rest_changes() -> None:
    running = read(actor=ACTOR)
    change = change_of(running, read(actor=ACTOR, port=9000, limits={"max_n": 2}, refine={"votes": 3}))
    assert change.needs_restart == ("port", "limits.max_n")
    assert (change.configuration.settings.port, change.configuration.settings.limits.max_n) == (8000, 128)
    assert change.changed == ("refine",)


@pytest.mark.parametrize(
    "pair", [({}, {"actor": ACTOR}), ({"actor": ACTOR}, {}), ({"actor": {"vllm": "a"}}, {"actor": ACTOR})]
)
def test_models_in_this_process_are_not_exchanged(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    change = change_of(read(**pair[0]), read(**pair[1]))
    assert (change.changed, len(change.needs_restart)) == ((), 1)
    assert change.needs_restart[0].startswith("actor")


@pytest.mark.parametrize("pair", [([], [key("ann")]), ([key("ann")], [])])
def test_a_server_without_keys_does_not_get_its_first_one_nor_loses_the_last(pair: Any) -> None:
    before, after = (read(actor=ACTOR, keys=keys) for keys in pair)
    change = change_of(before, after)
    assert change.needs_restart == ("keys (a first key, or none any more)",)
    assert change.configuration.keyring is before.keyring


def test_limits_are_for_the_workers_that_run() -> None:
    running = read(actor=ACTOR, workers=4)
    new = read(actor={**ACTOR, "max_concurrency": 2}, workers=2)
    with pytest.raises(ConfigError, match=r"actor.max_concurrency: 2 cannot be divided among 4 workers"):
        change_of(running, new)


def test_a_file_counts_as_changed_once_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "spar.toml"
    file.write_text("port = 1")
    source = Source({}, file)
    source.read()
    assert [source.has_changed() for _ in range(3)] == [False] * 3
    file.write_text("port = 1000")
    # Another look, in which it is still the same, shows that nobody is writing it.
    assert [source.has_changed() for _ in range(2)] == [False, True]
    source.read()
    assert [source.has_changed() for _ in range(2)] == [False, False]


def test_an_invalid_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "spar.toml"
    file.write_text("")
    source = Source({}, file)
    source.read()
    file.write_text("no = 1")
    assert [source.has_changed() for _ in range(2)] == [False, True]
    with pytest.raises(ConfigError, match="no: there is no such setting"):
        source.read()
    assert [source.has_changed() for _ in range(2)] == [False, False]
    file.write_text("port = 99")
    assert [source.has_changed() for _ in range(2)] == [False, True]


def test_a_keys_file_that_the_settings_newly_name_is_watched(tmp_path: Path) -> None:
    file, keys = tmp_path / "spar.toml", tmp_path / "keys.toml"
    file.write_text(f'keys_file = "{keys}"')
    keys.write_text(f'[[keys]]\nname = "ann"\nsha256 = "{sha256_of("ann")}"\n')
    source = Source({}, file)
    source.read()
    assert [source.has_changed() for _ in range(2)] == [False, False]
    keys.unlink()
    assert [source.has_changed() for _ in range(2)] == [False, True]
