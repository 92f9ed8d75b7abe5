"""Fast header lookup, and the paths that need no API key."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first value of the header `name`, which must be lower case, or None. Builds no header mapping."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


# The documentation page and the files that it loads.
DOCS: Final = "/docs"
DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js")

OPEN_PATHS: Final = frozenset(
    {
        *("/", "/health", "/ready", "/version", "/metrics", "/openapi.json", DOCS),
        *(f"{DOCS}/{name}" for name in DOCS_FILES),
    }
)
