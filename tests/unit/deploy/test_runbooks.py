"""Every alert has a runbook, and no runbook is about an alert that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
ALERTS = yaml.safe_load((ROOT / "server/deploy/monitoring/alerts.yml").read_text())["groups"][0]["rules"]
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text(encoding="utf-8")


def test_alerts_and_runbooks_are_the_same_in_the_same_order() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE) == [alert["alert"] for alert in ALERTS]


def test_every_alert_leads_to_its_runbook() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_a_runbook_begins_with_the_severity_that_its_alert_has() -> None:
    begun = dict(re.findall(r"^## (\w+)\n\n\*(\w+):", RUNBOOKS, re.MULTILINE))
    assert begun == {alert["alert"]: alert["labels"]["severity"].capitalize() for alert in ALERTS}


def test_the_metrics_and_settings_of_runbooks_exist() -> None:
    metrics = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(spar_\w+)", RUNBOOKS):
        assert f"| `{name}` |" in metrics, name
    settings = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    sections = r"actor|admission|brownout|metrics|refine|refiner|traces"
    for section, name in re.findall(rf"`({sections})\.(\w+)[` ]", RUNBOOKS):
        assert f"| `{section}.{name}" in settings, f"{section}.{name}"
