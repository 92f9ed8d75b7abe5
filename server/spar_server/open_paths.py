"""What is answered to anyone and at any time: what operators and load balancers ask, and the documentation."""

from __future__ import annotations

from typing import Final

# The documentation's page, and what it loads.
DOCS: Final = "/docs"
DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js")

OPEN_PATHS: Final = frozenset(
    {
        *("/", "/health", "/ready", "/version", "/metrics", "/openapi.json", DOCS),
        *(f"{DOCS}/{name}" for name in DOCS_FILES),
    }
)
