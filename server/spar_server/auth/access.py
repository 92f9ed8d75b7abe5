"""The API key of a request, and what it can use."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from spar_server.errors import ApiError
from spar_server.settings import ApiKey


def key_of(request: Request) -> ApiKey:
    """The API key of a request."""
    key: ApiKey = request.scope["state"]["key"]
    return key


def key_name(scope: Scope) -> str:
    """The name of the request's API key; empty if the request was not authenticated."""
    key = scope.get("state", {}).get("key")
    return key.name if key else ""


def allow_model(key: ApiKey, model: str) -> None:
    """Raise ApiError (403) if the key cannot use this model."""
    if not key.may_use(model):
        raise ApiError(403, f"this key is not for the model {model!r}", param="model", code="model_not_allowed")
