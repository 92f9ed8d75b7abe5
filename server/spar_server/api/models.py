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
from spar_server.serving.model_name import find_model
from spar_server.serving.plan import budget_of_model
from spar_server.settings import ModelAlias, Settings

router = APIRouter()


@router.get("/v1/models", summary="List the models", responses=MODELS)
async def list_models(request: Request) -> dict[str, Any]:
    """The pair and the aliases of the settings, as far as the key may use them."""
    pair: ServedPair = request.app.state.pair
    settings: Settings = request.app.state.settings
    key = key_of(request)
    names = [name for name in (pair.name, *settings.models) if key.may_use(name)]
    return {"object": "list", "data": [_model(request, name, settings.models.get(name)) for name in names]}


@router.get("/v1/models/{name:path}", summary="Describe a model", responses=MODEL)
async def get_model(name: str, request: Request) -> dict[str, Any]:
    """`NAME@N` is NAME with a budget of N, for every N that the client can request."""
    pair: ServedPair = request.app.state.pair
    settings: Settings = request.app.state.settings
    key = key_of(request)
    named = find_model(name, pair.name, settings.models)
    try:
        budget_of_model(named, defaults=defaults_for(key, settings.refine, settings.limits))
    except RequestError as error:
        raise ApiError(404, str(error), param="model", code="model_not_found") from error
    allow_model(key, named.name)
    return _model(request, name, named.alias)


def _model(request: Request, name: str, alias: ModelAlias | None) -> dict[str, Any]:
    """A model in OpenAI's shape; an alias also has its description and budget, and the pair's name as `root`."""
    pair: ServedPair = request.app.state.pair
    model = {"id": name, "object": "model", "created": request.app.state.started, "owned_by": "spar-server"}
    if alias is None:
        return model
    return {**model, "root": pair.name, "description": alias.description, "refine_budget": alias.refine_budget}
