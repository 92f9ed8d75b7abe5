"""Stored traces for tests."""

from __future__ import annotations

import json
from typing import Any

from spar_server.traces.store import TraceRecord


def trace_id(number: int) -> str:
    return f"{number:032x}"


def record(number: int, *, body: dict[str, Any] | None = None, **columns: Any) -> TraceRecord:
    """The `number`-th trace, which finished that many seconds after 1000."""
    values: dict[str, Any] = {
        "id": trace_id(number),
        "created": 1000.0 + number,
        "key": "team-a",
        "model": "pair",
        "budget": 8,
        "nodes": 3,
        "depth": 1,
        "stop_reason": "refined_accepted",
        "accepted": True,
        "improved": True,
        "degraded": False,
        "value": 1.0,
        "draft_value": None,
        "duration_ms": 12.5,
    }
    return TraceRecord({**values, **columns}, json.dumps(body or {"number": number}).encode())
