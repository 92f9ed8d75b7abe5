"""Endpoints for operators: /health, /ready, /version and /metrics."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from spar_server.api.openapi import ERRORS, READY
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair
from spar_server.serving.gate import Gate
from spar_server.traces.recorder import TraceRecorder

router = APIRouter()


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Check that the process is alive", responses=ERRORS)
async def health(request: Request) -> dict[str, Any]:
    """With `traces` if the server stores them; their trouble never makes the server unhealthy."""
    recorder: TraceRecorder | None = request.app.state.recorder
    return {"status": "ok"} | ({"traces": asdict(recorder.health)} if recorder else {})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Check that the server takes requests", responses=READY)
async def ready(request: Request) -> JSONResponse:
    """False, with status 503, while the server is stopping or every upstream of the actor is down.

    Without a refiner, the server still gives degraded answers; see the metric `spar_model_ready`.
    """
    gate: Gate = request.app.state.gate
    pair: ServedPair = request.app.state.pair
    is_ready = not gate.draining.started and await pair.ready()
    return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)


@router.get("/version", summary="Get the server's version and its model pair")
async def server_version(request: Request) -> dict[str, Any]:
    """For a pair in a folder, this includes the SHA-256 of each model's weights, and its recipe if known."""
    pair: ServedPair = request.app.state.pair
    return {"version": version("spar-server"), "pair": {"name": pair.name, **pair.lineage}}


@router.get("/metrics", summary="Get Prometheus metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    registry: Metrics = request.app.state.metrics
    pair: ServedPair = request.app.state.pair
    registry.upstreams.report_ready(await pair.ready_roles())
    return Response(registry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
