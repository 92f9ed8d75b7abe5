"""The section of a report that tells how a result came about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from spar_training.reports.page import Section, Table
from spar_training.reports.result import Result

# A recipe or lineage is in the result file; the page names what tells runs apart.
_LONGEST: Final = 160
SETUP: Final = "How it was measured"


def setup_section(result: Result) -> Section:
    """Configuration, models and versions."""
    models = [(f"{role}: {name}", value) for role, model in result.models.items() for name, value in _flat(model)]
    rows = [[name, shown] for name, value in (*_flat(result.config), *models) if (shown := _shown(value))]
    versions = [[name, version] for name, version in result.versions.items()]
    return Section(SETUP, "", [Table(["setting", "value"], rows), Table(["package", "version"], versions)])


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            for inner, deeper in _flat(value):
                yield f"{name}.{inner}", deeper
        else:
            yield name, value


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
