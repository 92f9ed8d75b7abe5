"""The shipped dashboard, alerts and scrape configuration, on a real Prometheus and what a real server exports."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "server/deploy/monitoring"
METRICS = ROOT / "docs/reference/metrics.md"
BOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = {panel["title"]: panel for panel in BOARD["panels"] if panel["type"] != "row"}
# What a histogram's samples are called besides its name, and the labels that Prometheus gives.
SAMPLES = r"_(bucket|sum|count)$"
GIVEN = {"job", "instance", "le"}
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")


def asked(panel: dict[str, Any]) -> list[str]:
    """A panel's expressions, as Grafana sends them."""
    expressions = [target["expr"] for target in panel["targets"]]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in expressions]


EXPRESSIONS = [*(each for panel in PANELS.values() for each in asked(panel)), *(alert["expr"] for alert in ALERTS)]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    """A server that has refined one answer, passed one through and refused one request."""
    with serving(scripted_pair()) as url:
        for extra in ({"refine_budget": 2}, {}, {"n": 0}):
            body = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **extra}
            httpx.post(f"{url}/v1/chat/completions", json=body).read()
        yield url


def documented() -> dict[str, set[str]]:
    """The labels of each metric that `docs/reference/metrics.md` lists."""
    rows = re.findall(r"^\| `(spar_\w+)` \| \w+ \| ([^|]*) \|", METRICS.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: set(re.findall(r"\w+", labels)) for name, labels in rows}


def test_every_metric_is_documented_and_every_documented_one_exported(url: str) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE))
    exported = {name for name in kinds if name.startswith("spar_") and not name.endswith("_created")}
    assert exported == set(documented())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_uses_exported_metrics_and_labels(expression: str) -> None:
    metrics = documented()
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = {re.sub(SAMPLES, "", name) for name in re.findall(r"\bspar_\w+", bare)} or {"up"}
    assert names <= {*metrics, "up"}
    matched = re.findall(r"(\w+)\s*[=!]~?\s*\"", bare)
    grouped = re.findall(r"\b(?:by|ignoring|on)\s*\(([^)]*)\)", bare)
    labels = {*matched, *(label.strip() for group in grouped for label in group.split(","))}
    assert labels <= GIVEN.union(*(metrics.get(name, set()) for name in names))


def test_no_two_panels_share_a_place_or_a_number() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        place = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not place & taken
        taken |= place
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@needs_prometheus
def test_the_rules_and_the_scrape_configuration_are_prometheus_own() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", FOLDER / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def prometheus(url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """A Prometheus by the shipped configuration, but that it asks this server, every second."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["scrape_configs"][0]["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (
        subprocess.Popen(
            [*command, f"--web.listen-address={address}"], cwd=tmp_path, stderr=subprocess.DEVNULL
        ) as process,
        httpx.Client(base_url=f"http://{address}") as client,
    ):
        try:
            eventually(lambda: ready(client), "Prometheus is not ready")
            yield client
        finally:
            process.terminate()


def results(prometheus: httpx.Client, expression: str) -> list[Any]:
    answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    found: list[Any] = answer["data"]["result"]
    return found


@needs_prometheus
def test_every_panel_and_alert_is_computed_from_what_a_server_exports(prometheus: httpx.Client) -> None:
    twice = "count_over_time(spar_answer_depth_count[1m]) >= 2"
    eventually(lambda: results(prometheus, twice), "Prometheus did not scrape the server twice")
    for expression in EXPRESSIONS:
        results(prometheus, expression)
    for title in (
        "Requests by kind and outcome",
        "Errors by status",
        "Latency",
        "Depth of answers",
        "Stop reasons",
        "Votes",
    ):
        assert all(results(prometheus, expression) for expression in asked(PANELS[title])), title
    rules = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["name"] for rule in rules} == {alert["alert"] for alert in ALERTS}
