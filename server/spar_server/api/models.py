"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from spar_core.errors import RequestError
from spar_server.api.openapi import MODEL, MODELS
from spar_server.auth.access import allow_model, key_of
from spar_server.auth.keyring import defaults_for
from spar_server.errors import ApiError
from spar_server.models.pair import ServedPair
from spar_server.serving.plan import budget_of_model
from spar_server.settings import Settings

router = APIRouter()


@router.get("/v1/models", summary="List the models", responses=MODELS)
async def list_models(request: Request) -> dict[str, Any]:
    pair: ServedPair = request.app.state.pair
    return {"object": "list", "data": [_model(request)] if key_of(request).may_use(pair.name) else []}


@router.get("/v1/models/{name:path}", summary="Describe a model", responses=MODEL)
async def get_model(name: str, request: Request) -> dict[str, Any]:
    """`NAME@N` is an alias of NAME with a budget of N, for every N that the client can request."""
    pair: ServedPair = request.app.state.pair
    settings: Settings = request.app.state.settings
    key = key_of(request)
    try:
        budget_of_model(name, model=pair.name, defaults=defaults_for(key, settings.refine, settings.limits))
    except RequestError as error:
        raise ApiError(404, str(error), param="model", code="model_not_found") from error
    allow_model(key, pair.name)
    return {**_model(request), "id": name}


def _model(request: Request) -> dict[str, Any]:
    pair: ServedPair = request.app.state.pair
    return {"id": pair.name, "object": "model", "created": request.app.state.started, "owned_by": "spar-server"}
