"""Where settings come from, which of them wins, and how a wrong one is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import ConfigError
from spar_server.models.pair import build_pair
from spar_server.settings import Upstream, VllmModel, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spar.toml of the developer's own."""
    monkeypatch.chdir(tmp_path)


def test_with_nothing_said_it_listens_on_loopback_and_passes_through() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.actor, settings.refine.refine_budget) == ("127.0.0.1", 8000, None, 0)


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my.toml"
    file.write_text('port = 1\nhost = "a"\nmodel = "file"\n[refine]\nvotes = 3\n')
    monkeypatch.setenv("SPAR_HOST", "b")
    monkeypatch.setenv("SPAR_MODEL", "environment")
    settings = load_settings({"model": "flag"}, file)
    assert (settings.port, settings.host, settings.model, settings.refine.votes) == (1, "b", "flag", 3)


def test_a_spar_toml_in_the_working_directory_is_read() -> None:
    Path("spar.toml").write_text("port = 9\n")
    assert load_settings({}).port == 9


def test_nested_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAR_ACTOR__URL", "http://x/v1")
    monkeypatch.setenv("SPAR_ACTOR__MODEL", "m")
    monkeypatch.setenv("SPAR_ACTOR__API_KEY", "secret")
    settings = load_settings({})
    assert settings.actor is not None
    assert settings.actor.url == ("http://x/v1",)
    assert "secret" not in repr(settings)


def test_variables_of_the_client_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAR_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("SPAR_API_KEY", "secret")
    assert load_settings({}).port == 8000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "prot: there is no such setting"),
        ('port = "many"', "port: .*integer"),
        ("[refine]\nvotes = 0", "refine.votes: .*greater than or equal to 1"),
        ('[refine]\nalgorithm = "astar"', "refine.algorithm: .*'bfs'"),
        ('[actor]\nurl = "http://x/v1"', "actor.model: is needed"),
        ('[actor]\nurl = "x"\nmodel = "m"', "actor.url"),
        ('[actor]\nvllm = ""', "actor.vllm: .*at least 1 character"),
        ('[actor]\nvllm = "m"\nurl = "http://x/v1"', "actor.url: not allowed with actor.vllm"),
        ('[actor]\nvllm = "m"\nlora = "x"', "actor.lora: there is no such setting"),
        ('[refiner]\nurl = "http://x/v1"\nmodel = "m"\nreasons = true', "refiner.reasons: there is no such setting"),
        ("port = ", "my.toml: not valid TOML"),
        ("port = 9000\nmetrics = {port = 9000}", "^metrics.port is the server's own port; choose another$"),
        ('device = "gpu"', "device: .*cuda"),
        ("[refine]\nrefine_budget = 65", "refine: .*refine_budget is 65, over max_refine_budget, which is 64; lower"),
        ("[refine]\nrefine_budget = 5\nmax_refine_budget = 4", "refine_budget is 5, over max_refine_budget"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_settings({}, file)


def test_a_mistyped_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAR_PROT", "1")
    with pytest.raises(ConfigError, match="SPAR_PROT"):
        load_settings({})


def test_a_nested_variable_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAR_REFINE", "much")
    with pytest.raises(ConfigError, match="SPAR_ACTOR__URL"):
        load_settings({})


def test_a_flag_adds_to_a_model_that_another_source_configures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAR_ACTOR__MODEL", "m")
    actor = load_settings({"actor": {"url": "http://x/v1"}}).actor
    assert actor is not None
    assert (actor.url, actor.model) == (("http://x/v1",), "m")


def test_a_model_in_this_process_and_its_engine_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACTOR__VLLM", "m"), ("ACTOR__ADAPTER", "a"), ("VLLM__MAX_MODEL_LEN", "512")):
        monkeypatch.setenv(f"SPAR_{name}", value)
    monkeypatch.setenv("SPAR_VLLM__DTYPE", "half")
    settings = load_settings({})
    assert settings.actor == VllmModel(vllm="m", adapter="a")
    assert settings.vllm == {"max_model_len": 512, "dtype": "half"}


@pytest.mark.parametrize("models", [{}, {"actor": {"url": "http://x/v1", "model": "m"}}])
def test_engine_arguments_without_a_model_are_refused(models: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--actor-vllm"):
        build_pair(load_settings({"vllm": {"max_model_len": 512}, **models}))


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where it is not installed.
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="pip install 'spar-server\\[vllm\\]'"):
        build_pair(load_settings({"actor": {"vllm": "m"}}))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings({}, Path("nowhere.toml"))


def test_a_refiner_without_an_actor_is_refused() -> None:
    with pytest.raises(ConfigError, match="--actor-url"):
        build_pair(load_settings({"refiner": {"url": "http://x/v1", "model": "m"}}))


async def test_without_a_refiner_the_actor_refines_itself() -> None:
    pair = build_pair(load_settings({"actor": {"url": "http://x/v1", "model": "m"}}))
    assert (pair.name, pair.refiner.model, pair.templates.name) == ("m", "m", "default")
    await pair.aclose()


@pytest.mark.parametrize(
    "text",
    ['url = ["http://x/v1", "http://y/v1"]', 'url = "http://x/v1, http://y/v1"', 'url = "http://x/v1 http://y/v1"'],
)
def test_several_servers_of_a_role_are_a_list_or_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    both = ("http://x/v1", "http://y/v1")
    file = tmp_path / "my.toml"
    file.write_text(f'[actor]\n{text}\nmodel = "m"\nretries = 1\n[actor.timeouts]\nconnect = 1\n')
    settings = load_settings({}, file)
    assert isinstance(settings.actor, Upstream)
    assert (settings.actor.url, settings.actor.retries, settings.actor.timeouts.connect) == (both, 1, 1)
    monkeypatch.setenv("SPAR_REFINER__URL", ",".join(both))
    monkeypatch.setenv("SPAR_REFINER__MODEL", "m")
    monkeypatch.setenv("SPAR_REFINER__TIMEOUTS__FIRST_TOKEN", "7")
    refiner = load_settings({}, file).refiner
    assert isinstance(refiner, Upstream)
    assert (refiner.url, refiner.timeouts.first_token) == (both, 7)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ('url = ["http://x/v1", "http://x/v1/"]', "actor.url: .*twice"),
        ("url = []", "actor.url: .*at least 1"),
        ('url = "http:///v1"', "actor.url.0: "),
        ('url = "http://x/v1"\nmax_concurrency = 0', "actor.max_concurrency: "),
        ('url = "http://x/v1"\nretries = -1', "actor.retries: "),
        ('url = "http://x/v1"\ntimeouts = {idle = 3}', "actor.timeouts.idle: there is no such setting"),
        ('url = "http://x/v1"\ntimeouts = {total = 0}', "actor.timeouts.total: "),
    ],
)
def test_a_wrong_setting_of_an_upstream_is_refused_by_name(tmp_path: Path, key: str, says: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f'[actor]\nmodel = "m"\n{key}\n')
    with pytest.raises(ConfigError, match=says):
        load_settings({}, file)


async def test_an_actor_that_refines_itself_keeps_to_one_limit() -> None:
    pair = build_pair(load_settings({"actor": {"url": ["http://x/v1", "http://y/v1"], "model": "m"}}))
    assert pair.refiner is pair.actor
    await pair.aclose()


@pytest.mark.parametrize(
    ("value", "share"), [("on", 1.0), ("off", 0.0), (0.25, 0.25), ("0.25", 0.25), (".5", 0.5), (True, 1.0)]
)
def test_the_share_of_stored_searches_is_a_word_or_a_number(value: Any, share: float) -> None:
    assert load_settings({"traces": {"record": value}}).traces.record == share


@pytest.mark.parametrize("value", ["sometimes", 1.5, -1, "", "10%"])
def test_a_wrong_share_is_an_error_that_names_the_setting(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"traces\.record: "):
        load_settings({"traces": {"record": value}})
