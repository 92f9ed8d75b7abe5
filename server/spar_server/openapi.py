"""What FastAPI's description of the server leaves out: that a key is asked for, and how it is sent."""

from __future__ import annotations

from typing import Any, Final

from spar_server.open_paths import OPEN_PATHS

_NAME: Final = "bearer"


def with_keys(document: dict[str, Any], *, needed: bool) -> dict[str, Any]:
    """The OpenAPI document with the scheme of keys; where none are `needed` they are described as optional."""
    document.setdefault("components", {})["securitySchemes"] = {
        _NAME: {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."}
    }
    asked: list[dict[str, list[str]]] = [{_NAME: []}] if needed else [{_NAME: []}, {}]
    for path, operations in document["paths"].items():
        if path not in OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = asked
    return document
