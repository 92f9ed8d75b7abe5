"""API keys: how they are made, stored, found and refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import ConfigError
from spar_server.auth.keyring import Keyring, is_loopback, load_keyring, new_secret, sha256_of
from spar_server.settings import ApiKey, Settings, load_settings

DIGEST = "a" * 64


def entry(name: str, secret: str) -> ApiKey:
    return ApiKey(name=name, sha256=sha256_of(secret))


def test_a_key_is_found_by_itself_alone() -> None:
    ring = Keyring([entry("a", "one"), entry("b", "two")])
    assert [key and key.name for key in map(ring.find, ["one", "two", "three", "", sha256_of("one")])] == [
        "a",
        "b",
        None,
        None,
        None,
    ]


def test_all_keys_are_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(stored: str, given: str) -> bool:
        compared.append(stored)
        return stored == given

    monkeypatch.setattr("spar_server.auth.keyring.hmac.compare_digest", compare)
    ring = Keyring([entry(name, name) for name in "abc"])
    for secret in ("a", "c", "none"):
        compared.clear()
        ring.find(secret)
        assert len(compared) == 3


def test_fresh_keys_differ_and_hold_256_bits() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    # 32 bytes in base64.
    assert {len(secret.removeprefix("spar-")) for secret in secrets} == {43}


def test_the_command_prints_a_key_and_an_entry_that_fits_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spar_server.cli", "keys", "new", "team-a"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    file = tmp_path / "keys.toml"
    file.write_text(done.stdout)
    (secret,) = [line for line in done.stderr.splitlines() if line.startswith("spar-")]
    ring = load_keyring(Settings(keys_file=file))
    assert ring is not None
    found = ring.find(secret)
    assert found is not None
    assert found.name == "team-a"
    assert secret not in done.stdout
    assert set(tomllib.loads(done.stdout)["keys"][0]) == {"name", "sha256"}


def test_keys_come_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPAR_KEYS", f'[{{"name": "a", "sha256": "{sha256_of("one")}"}}]')
    ring = load_keyring(load_settings({}))
    assert ring is not None
    assert ring.find("one") is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    assert load_keyring(Settings(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example", "localhost.example", ""])
def test_a_public_server_without_keys_does_not_start(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="--no-auth"):
        load_keyring(Settings(host=host))
    assert load_keyring(Settings(host=host, auth="off")) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[keys]]\nname = 'a'", "keys.0.sha256: Field required"),
        (f"[[keys]]\nname = 'a b'\nsha256 = '{DIGEST}'", "keys.0.name"),
        ("[[keys]]\nname = 'a'\nsha256 = 'secret'", "keys.0.sha256"),
        (f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST}'\nrpm = 3", "keys.0.rpm"),
        (f"[[keys]]\nname = 'anonymous'\nsha256 = '{DIGEST}'", "choose another"),
        (f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST}'\n" * 2, "two keys have the name a"),
        (
            f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST}'\n[[keys]]\nname = 'b'\nsha256 = '{DIGEST}'",
            "two keys have the sha256",
        ),
        ("keys = ", "not valid TOML"),
        ("", "`spar keys new NAME`"),
    ],
)
def test_a_wrong_file_of_keys_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_keyring(Settings(keys_file=file))


@pytest.mark.parametrize(("own", "most", "server"), [(5, 4, 64), (5, None, 4), (5, 9, 4)])
def test_a_keys_budget_over_its_ceiling_is_refused(own: int, most: int | None, server: int) -> None:
    key = ApiKey(name="a", sha256=DIGEST, refine_budget=own, max_refine_budget=most)
    settings = Settings(keys=(key,), refine={"max_refine_budget": server})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="keys: a: refine_budget is 5, over max_refine_budget, which is 4"):
        load_keyring(settings)


def test_keys_and_no_auth_contradict_each_other() -> None:
    keys: Any = [entry("a", "one")]
    with pytest.raises(ConfigError, match="remove either"):
        load_keyring(Settings(auth="off", keys=keys))
