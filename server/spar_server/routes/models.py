"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from spar_server.auth import allow_model, key_of
from spar_server.errors import ApiError
from spar_server.pair import Pair

router = APIRouter()


@router.get("/v1/models", summary="List the models")
async def list_models(request: Request) -> dict[str, Any]:
    pair: Pair = request.app.state.pair
    return {"object": "list", "data": [_model(request)] if key_of(request).may_use(pair.name) else []}


@router.get("/v1/models/{name:path}", summary="Describe a model")
async def get_model(name: str, request: Request) -> dict[str, Any]:
    """`NAME@N`, the same model with a budget of N, is an alias of NAME."""
    pair: Pair = request.app.state.pair
    base, _, budget = name.partition("@")
    if base != pair.name or (budget and not budget.isdigit()):
        raise ApiError(404, f"the model {name!r} does not exist", param="model", code="model_not_found")
    allow_model(key_of(request), pair.name)
    return {**_model(request), "id": name}


def _model(request: Request) -> dict[str, Any]:
    pair: Pair = request.app.state.pair
    return {"id": pair.name, "object": "model", "created": request.app.state.started, "owned_by": "spar-server"}
