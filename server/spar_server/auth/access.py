"""The API key of a request, and what it can use."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from spar_server.auth.keyring import is_loopback
from spar_server.errors import ApiError
from spar_server.settings import ApiKey, Settings


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


def check_private(request: Request, what: str) -> None:
    """Raise ApiError (403) if everyone who can reach the server could read what others have stored; `what` names it."""
    settings: Settings = request.app.state.settings
    if not request.app.needs_key and not is_loopback(settings.host):
        raise ApiError(403, f"{what} are read with an API key, and this server has none", code=f"{what}_need_keys")
