"""The Helm chart, rendered by Helm: against Kubernetes' schemas, and against the code."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from spar_server.auth.keyring import load_keyring
from spar_server.settings import Settings, Upstream
from tests.support.deployment import CHART, DEPLOY, ROOT, image_environment, keys_file, parses, paths, settings_of

KEYS = {"keys": {"existingSecret": "spar-keys"}}
UPSTREAM = {
    "model": "my-pair",
    "actor": {"url": ["http://a:8000/v1", "http://b:8000/v1"], "model": "actor", "timeouts": {"answer": 90.5}},
    "refiner": {"url": "http://refiner:8000/v1", "model": "refiner", "max_concurrency": 64},
    "refine": {"refine_budget": 4, "effort_budgets": False},
    "limits": {"max_body_bytes": 67_108_864},
    "traces": {"record": 0.5, "url": "postgresql://spar@db/traces"},
}
CASES: dict[str, dict[str, Any]] = {
    "least": KEYS,
    "keys in the values": {"keys": {"toml": '[[keys]]\nname = "team"\nsha256 = "' + "a" * 64 + '"\n'}},
    "no keys": {"keys": {"disabled": True}},
    "everything": {
        **KEYS,
        "image": {"repository": "registry.example.com/spar-server", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "settings": UPSTREAM,
        "upstreamKeys": {"existingSecret": "upstream-keys"},
        "tracesPassword": {"existingSecret": "traces-password"},
        "autoscaling": {"enabled": True},
        "podDisruptionBudget": {"maxUnavailable": "25%"},
        "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": "true"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podAnnotations": {"example.com/team": "search"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "gateway", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    },
    "nothing optional": {
        **KEYS,
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}
# The oldest version that the chart admits, and the newest with schemas here.
VERSIONS = (
    re.search(r"\d+\.\d+", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])[0],  # type: ignore[index]
    kubernetes_validate.latest_version(),
)


def rendered(values: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The resources of a release `team` by kind and name."""
    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(dict(values), name="team", namespace="models")
    documents = [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    resources = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    assert len(resources) == len(documents)
    return resources


def only(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (resource for (each, _), resource in rendered(values).items() if each == kind)
    return found


def container(values: Mapping[str, Any]) -> dict[str, Any]:
    (one,) = only(values, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def mounted(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The volumes of the gateway by the path of their mounts."""
    volumes = {each["name"]: each for each in only(values, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    mounts = container(values)["volumeMounts"]
    assert {each["name"] for each in mounts} == set(volumes)
    return {each["mountPath"]: volumes[each["name"]] for each in mounts}


def gateway_settings(values: Mapping[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    """What a gateway makes of its variables and its file, with stand-ins for its secrets."""
    variables = {each["name"]: each.get("value", "secret") for each in container(values)["env"]}
    places = mounted(values)
    for name in ("SPAR_KEYS_FILE", "SPAR_TRACES__PASSWORD_FILE"):
        if name in variables:
            assert "secret" in places[str(Path(variables[name]).parent)]
    if "SPAR_KEYS_FILE" in variables:
        variables["SPAR_KEYS_FILE"] = str(keys_file(folder))
    file = folder / "spar.toml"
    file.write_text(only(values, "ConfigMap")["data"]["spar.toml"])
    return settings_of({**image_environment(), **variables}, patch, file)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_every_resource_is_valid_by_the_schemas_of_kubernetes(case: str, version: str) -> None:
    for (kind, _), resource in rendered(CASES[case]).items():
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(resource, version, strict=True)


def test_helm_lints_the_chart_without_an_error() -> None:
    assert helm_python.lint(str(CHART), KEYS)["errors"] == []


@pytest.mark.parametrize("case", CASES)
def test_a_gateway_starts_with_its_variables_and_its_file(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gateway_settings(CASES[case], tmp_path, monkeypatch)
    assert (load_keyring(settings) is None) == (case == "no keys")
    assert parses(container(CASES[case])["args"])
    assert container(CASES[case])["args"][-1] in mounted(CASES[case])
    ports = {each["name"]: each["containerPort"] for each in container(CASES[case])["ports"]}
    assert ports == {"http": settings.port, "metrics": settings.metrics.port}


def test_settings_arrive_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gateway_settings(CASES["everything"], tmp_path, monkeypatch)
    assert isinstance(settings.actor, Upstream)
    assert isinstance(settings.refiner, Upstream)
    assert settings.actor.url == ("http://a:8000/v1", "http://b:8000/v1")
    assert settings.actor.timeouts.answer == 90.5
    assert settings.actor.api_key is not None
    assert settings.refiner.max_concurrency == 64
    assert (settings.refine.refine_budget, settings.refine.effort_budgets) == (4, False)
    assert settings.limits.max_body_bytes == 67_108_864
    assert settings.traces.record == 0.5


def test_a_file_of_keys_in_the_values_becomes_a_secret() -> None:
    secret = only(CASES["keys in the values"], "Secret")
    assert mounted(CASES["keys in the values"])["/etc/spar/keys"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert not [kind for kind, _ in rendered(KEYS) if kind == "Secret"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "set keys.existingSecret or keys.toml"),
        ({"keys": {"disabled": True, "toml": "a"}}, "keys"),
        ({**KEYS, "replicas": 3}, "replicas"),
        ({**KEYS, "settings": {"port": 9}}, "port"),
        ({**KEYS, "image": {"digest": "latest"}}, "digest"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(helm_python.HelmError, match=says):
        rendered(values)


def test_settings_that_the_chart_sets_itself_are_no_settings_of_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = set(schema["properties"]["settings"]["propertyNames"]["not"]["enum"])
    variables = {each["name"] for case in CASES.values() for each in container(case)["env"]}
    set_here = {name.removeprefix("SPAR_").lower() for name in variables if "__" not in name} & set(
        Settings.model_fields
    )
    assert set_here <= refused <= set(Settings.model_fields)


def test_probes_ask_routes_of_the_server_on_its_port() -> None:
    probes = {name: container(KEYS)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {each["path"] for each in probes.values()} <= paths()
    assert probes["readiness"]["path"] == "/ready"
    assert {each["port"] for each in probes.values()} == {"http"}


def test_models_may_take_as_long_to_load_as_the_values_say() -> None:
    probe = container({**KEYS, "probes": {"startupSeconds": 301}})["startupProbe"]
    assert 301 <= probe["periodSeconds"] * probe["failureThreshold"] < 306


def test_a_pod_is_not_killed_before_its_searches_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gateway_settings(KEYS, tmp_path, monkeypatch)
    seconds = only(KEYS, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert seconds > settings.shutdown_delay_s + settings.shutdown_grace_s
    assert settings.shutdown_delay_s > 0


def test_a_pod_has_no_rights_and_writes_only_where_a_volume_is() -> None:
    pod = only(KEYS, "Deployment")["spec"]["template"]["spec"]
    user = (DEPLOY / "Dockerfile").read_text().partition("USER ")[2].split()[0]
    assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(KEYS)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {path for path, volume in mounted(KEYS).items() if "emptyDir" in volume}
    assert writable == {image_environment()["SPAR_CACHE"], "/tmp"}


def test_the_autoscaler_reads_a_metric_that_the_server_has() -> None:
    (metric,) = only(CASES["everything"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    asked = metric["pods"]["metric"]
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert f"| `{asked['name']}` | gauge | `kind` |" in page
    assert asked["selector"]["matchLabels"] == {"kind": "search"}
    # Prometheus Adapter finds it by the rule in the documentation.
    assert f"seriesQuery: '{asked['name']}{{" in (ROOT / "docs/deployment.md").read_text(encoding="utf-8")


def test_the_autoscaler_alone_sets_the_replicas() -> None:
    assert "replicas" not in only(CASES["everything"], "Deployment")["spec"]
    assert only(KEYS, "Deployment")["spec"]["replicas"] == 2


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
def test_selectors_match_the_pods(kind: str) -> None:
    labels = only(KEYS, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert only(KEYS, kind)["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_network_policy_lets_requests_and_scrapes_in_by_separate_ports() -> None:
    policy = only(KEYS, "NetworkPolicy")["spec"]
    labels = only(KEYS, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["http", "metrics"]
    assert policy["ingress"][1]["from"] != policy["ingress"][0]["from"]


def test_the_metrics_have_a_service_that_no_load_balancer_publishes() -> None:
    resources = rendered(CASES["everything"])
    named = {name: each["spec"] for (kind, name), each in resources.items() if kind == "Service"}
    ports = {name: [port["targetPort"] for port in spec["ports"]] for name, spec in named.items()}
    assert ports == {"team-spar-server": ["http"], "team-spar-server-metrics": ["metrics"]}
    assert named["team-spar-server-metrics"]["type"] == "ClusterIP"
    labels = only(CASES["everything"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert all(spec["selector"].items() <= labels.items() for spec in named.values())


def test_the_service_monitor_finds_the_metrics_and_gives_them_the_job_of_the_alerts() -> None:
    resources = rendered(CASES["everything"])
    monitor = resources["ServiceMonitor", "team-spar-server"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [each for (kind, _), each in resources.items() if kind == "Service"]
    (service,) = (each for each in services if wanted <= each["metadata"]["labels"].items())
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] in paths()
    (job,) = (each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job")
    assert f'up{{job="{job}"}}' in (DEPLOY / "monitoring/alerts.yml").read_text()


def test_changed_settings_start_new_pods() -> None:
    def checksums(values: Mapping[str, Any]) -> dict[str, str]:
        annotations: dict[str, str] = only(values, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return annotations

    assert checksums(KEYS) != checksums({**KEYS, "settings": {"model": "other"}})
    assert checksums(KEYS) != checksums({"keys": {"toml": "# none"}})


def test_the_image_is_that_of_the_package_or_the_given_digest() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container(KEYS)["image"] == f"spar-server:{version}"
    assert container(CASES["everything"])["image"] == f"registry.example.com/spar-server@sha256:{'0' * 64}"
