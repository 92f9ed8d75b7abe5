"""server/spar_server/auth/access.py"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from spar_server.errors import ApiError
from spar_server.settings import ApiKey


def key_of(request: Request) -> ApiKey:
    """The key under which a request came."""
    key: ApiKey = request.state.key
    return key


def key_name(scope: Scope) -> str:
    """Of the key under which a request came, empty if that was not found out."""
    key = scope.get("state", {}).get("key")
    return key.name if key else ""


def allow_model(key: ApiKey, model: str) -> None:
    """Raises ApiError, 403, when the key is not for this model."""
    if not key.may_use(model):
        raise ApiError(403, f"this key is not for the model {model!r}", param="model", code="model_not_allowed")
