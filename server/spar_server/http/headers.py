"""Fast header lookup, and the paths that need no API key."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

# Where a scope keeps its headers as a mapping: each request looks up seven.
_BY_NAME: Final = "spar.headers"


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first value of the header `name`, which must be lower case, or None."""
    headers = scope.get(_BY_NAME)
    if headers is None:
        headers = scope[_BY_NAME] = dict(reversed(scope["headers"]))
    value = headers.get(name)
    return None if value is None else str(value, "latin-1")


# The documentation page and the files that it loads.
DOCS: Final = "/docs"
DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js")

OPEN_PATHS: Final = frozenset(
    {
        *("/", "/health", "/ready", "/version", "/metrics", "/openapi.json", DOCS),
        *(f"{DOCS}/{name}" for name in DOCS_FILES),
    }
)
