"""A request's headers, looked at without building anything: every request's are, several times."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of that name, which is in lower case; None when there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


# The documentation's page, and what it loads.
DOCS: Final = "/docs"
DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js")

OPEN_PATHS: Final = frozenset(
    {
        *("/", "/health", "/ready", "/version", "/metrics", "/openapi.json", DOCS),
        *(f"{DOCS}/{name}" for name in DOCS_FILES),
    }
)
