"""Fast header lookup, and the paths that need no API key."""

from __future__ import annotations

from collections.abc import Mapping
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


# Where a scope keeps the headers of an error response, beside the error's own.
_ON_ERROR: Final = "spar.error_headers"


def add_error_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """Add `headers` to the request's response if it is an error."""
    scope[_ON_ERROR] = headers


def error_headers(scope: Scope) -> Mapping[str, str]:
    """What `add_error_headers` has added."""
    headers: Mapping[str, str] = scope.get(_ON_ERROR, {})
    return headers


# Where the scope of a request that this server makes to itself has the key that it is made for.
REQUEST_OF: Final = "spar.request_of"

# The documentation page and the files that it loads.
DOCS: Final = "/docs"
DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js")

# The playground, and the files of its build that it loads.
PLAYGROUND: Final = "/ui"
PLAYGROUND_FILES: Final = ("playground.js", "playground.css", "icon.svg")

OPEN_PATHS: Final = frozenset(
    {
        *("/", "/health", "/ready", "/version", "/metrics", "/openapi.json", DOCS),
        *(f"{DOCS}/{name}" for name in DOCS_FILES),
        PLAYGROUND,
        f"{PLAYGROUND}/",
        *(f"{PLAYGROUND}/{name}" for name in PLAYGROUND_FILES),
    }
)
