"""What is answered to anyone and at any time: what operators and load balancers ask, and the documentation."""

from __future__ import annotations

from typing import Final

OPEN_PATHS: Final = frozenset({"/health", "/ready", "/version", "/metrics", "/docs", "/openapi.json"})
