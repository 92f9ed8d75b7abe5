"""The section of a report that tells how a result came about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from spar_training.reports.page import Section, Table
from spar_training.reports.result import Result

_LONGEST: Final = 160
SETUP: Final = "How it was measured"


def setup_section(result: Result) -> Section:
    """Configuration, models and versions; a model's whole lineage is in the result file."""
    models = [(f"{role}: {name}", value) for role, model in result.models.items() for name, value in _flat(model, 2)]
    rows = [[name, shown] for name, value in (*_flat(result.config, 4), *models) if (shown := _shown(value))]
    versions = [[name, version] for name, version in result.versions.items()]
    return Section(SETUP, "", [Table(["setting", "value"], rows), Table(["package", "version"], versions)])


def _flat(values: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """The values that are no mappings, down to a depth, by their dotted names."""
    for name, value in values.items():
        if not isinstance(value, Mapping):
            yield name, value
        elif depth > 1:
            for inner, deeper in _flat(value, depth - 1):
                yield f"{name}.{inner}", deeper


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
