"""Pair folders: their contents and their serving settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.model_folder import (
    DEFAULT_PAIR,
    TINY_PAIR,
    RoleModel,
    base_name,
    load_folder,
    named_folder,
    shadow_warning,
)
from spar_server.models.pair import build_pair, check_pair
from spar_server.settings import Settings, load_settings


def folder_of(path: Path, said: str | None = None) -> Path:
    for role in ("actor", "refiner"):
        (path / role).mkdir(parents=True)
        (path / role / "config.json").write_text("{}")
    if said is not None:
        (path / "pair.json").write_text(said)
    return path


def test_a_folder_without_settings_is_served_under_its_own_name(tmp_path: Path) -> None:
    found = load_folder(folder_of(tmp_path / "mine"))
    assert (found.name, found.templates) == ("mine", "default")
    assert (found.answer_tokens, found.judge_tokens, found.refine_tokens) == (None, 2048, 3072)


def test_a_folder_may_have_serving_settings(tmp_path: Path) -> None:
    found = load_folder(
        folder_of(
            tmp_path,
            '{"name": "small", "templates": "compact", "max_tokens": 256, '
            '"temperature": 0.3, "frequency_penalty": 0.2}',
        )
    )
    assert (found.name, found.templates, found.temperature, found.frequency_penalty) == ("small", "compact", 0.3, 0.2)
    assert (found.answer_tokens, found.judge_tokens, found.refine_tokens) == (256, 256, 256)


def test_a_folder_may_say_how_its_pair_is_searched_and_judged(tmp_path: Path) -> None:
    plain, own = (
        load_folder(folder_of(tmp_path / name, said))
        for name, said in (("plain", None), ("own", '{"judge": "checklist", "algorithm": "best_of_n"}'))
    )
    assert (plain.judge, plain.algorithm) == ("holistic", "bfs")
    assert (own.judge, own.algorithm) == ("checklist", "best_of_n")
    with pytest.raises(ConfigError, match="algorithm: there is no search algorithm 'astar'"):
        load_folder(folder_of(tmp_path / "wrong", '{"algorithm": "astar"}'))


def test_a_pair_may_bring_the_words_that_it_was_trained_on(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    for name, expected in (("words", str(tmp_path / "words")), ("brief", "brief")):
        (tmp_path / "pair.json").write_text(json.dumps({"templates": name}))
        (tmp_path / "config.json").write_text("{}")
        assert load_folder(tmp_path).templates == expected


def test_a_folder_that_is_a_model_is_both_actor_and_refiner(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert load_folder(tmp_path).actor == load_folder(tmp_path).refiner == RoleModel(tmp_path)


def test_a_role_may_be_an_adapter_over_a_base_or_the_base_itself(tmp_path: Path) -> None:
    pair, base = tmp_path / "pair", tmp_path / "base"
    base.mkdir()
    (pair / "refiner").mkdir(parents=True)
    (pair / "refiner" / "adapter_config.json").write_text("{}")
    (pair / "pair.json").write_text(json.dumps({"base": str(base)}))
    found = load_folder(pair)
    assert (found.actor, found.refiner) == (RoleModel(base), RoleModel(base, pair / "refiner"))
    # Wherever the server is started, the path is relative to the pair's folder.
    (pair / "pair.json").write_text('{"base": "../base"}')
    assert load_folder(pair).refiner == RoleModel(pair / "../base", pair / "refiner")
    (pair / "pair.json").unlink()
    with pytest.raises(ConfigError, match="actor holds no model"):
        load_folder(pair)
    (pair / "actor").mkdir()
    (pair / "actor" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"actor is an adapter; name its base in .*pair\.json"):
        load_folder(pair)


def test_a_missing_base_is_named_with_the_command_that_pulls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spar_core.model_folder.find_base", lambda name: None)
    (tmp_path / "pair.json").write_text('{"base": "smollm2-135m-instruct"}')
    with pytest.raises(ConfigError, match="run: spar models pull smollm2-135m-instruct"):
        load_folder(tmp_path)
    # A server downloads it.
    check_pair(Settings(pair=tmp_path))


def test_a_pair_is_checked_without_loading_it(tmp_path: Path) -> None:
    check_pair(Settings(pair=folder_of(tmp_path / "fine")))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="actor holds no model"):
        check_pair(Settings(pair=tmp_path))
    (tmp_path / "pair.json").write_text('{"base": "org/Other"}')
    with pytest.raises(ConfigError, match=r"org/Other: neither .* its folder or \.gguf file.* in its pair\.json"):
        check_pair(Settings(pair=tmp_path))
    with pytest.raises(ConfigError, match="neither a shipped set"):
        check_pair(Settings(pair=folder_of(tmp_path / "mute", '{"templates": "nonesuch"}')))


def test_shipped_pairs_are_found_by_name() -> None:
    tiny = load_folder(named_folder(TINY_PAIR))
    assert (tiny.name, tiny.templates, tiny.answer_tokens) == ("spar-small", "compact", 256)
    assert base_name(named_folder(DEFAULT_PAIR)) == "smollm2-135m-instruct"
    assert named_folder(Path("elsewhere")) == Path("elsewhere")


def test_a_folder_with_the_name_of_a_shipped_pair_is_taken_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shadow_warning(TINY_PAIR) is None
    folder = tmp_path / "tiny"
    folder.mkdir()
    assert named_folder(TINY_PAIR) == TINY_PAIR
    assert f"{folder} is used" in str(shadow_warning(TINY_PAIR))
    assert shadow_warning(folder) is None
    assert shadow_warning(Path("elsewhere")) is None


def test_a_wrong_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="actor holds no model; the folder needs actor"):
        load_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"pair.json: template: .* did you mean templates"):
        load_folder(folder_of(tmp_path / "a", '{"template": "compact"}'))
    with pytest.raises(ConfigError, match=r"pair.json: it: Invalid JSON"):
        load_folder(folder_of(tmp_path / "b", "{"))


def test_a_pair_stands_alone(tmp_path: Path) -> None:
    upstream = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(ConfigError, match="pair: cannot be combined with an actor"):
        build_pair(load_settings({"pair": str(tmp_path), "actor": upstream}))
    with pytest.raises(ConfigError, match="holds no model"):
        build_pair(Settings(pair=tmp_path))
