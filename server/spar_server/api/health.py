"""What operators ask: /health, /ready, /version, /metrics."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from spar_server.api.openapi import ERRORS, READY
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import Pair
from spar_server.serving.gate import Gate

router = APIRouter()


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Whether the process lives", responses=ERRORS)
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Whether it takes requests", responses=READY)
async def ready(request: Request) -> JSONResponse:
    """False, with status 503, while it is stopping, and while no upstream of the actor lives.

    Without a refiner there are answers all the same, degraded ones: see the metric `spar_model_ready`.
    """
    gate: Gate = request.app.state.gate
    pair: Pair = request.app.state.pair
    is_ready = not gate.draining.started and await pair.ready()
    return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)


@router.get("/version", summary="The server's version, and the pair that it serves")
async def server_version(request: Request) -> dict[str, Any]:
    """Of a pair in a folder also each model's weights by their SHA-256, and the recipe that made it, where known."""
    pair: Pair = request.app.state.pair
    return {"version": version("spar-server"), "pair": {"name": pair.name, **pair.lineage}}


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    registry: Metrics = request.app.state.metrics
    pair: Pair = request.app.state.pair
    registry.upstreams.report_ready(await pair.ready_roles())
    return Response(registry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
