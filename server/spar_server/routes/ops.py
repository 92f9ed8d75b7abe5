"""What operators ask: /health, /ready, /version, /metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from spar_server.gate import Gate
from spar_server.metrics import Metrics

router = APIRouter()


@router.get("/health", summary="Whether the process lives")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready", summary="Whether it takes requests")
async def ready(request: Request) -> JSONResponse:
    """The server listens once its models are there. While it is stopping this is a 503."""
    gate: Gate = request.app.state.gate
    stopping = gate.draining.begun
    return JSONResponse({"ready": not stopping}, status_code=503 if stopping else 200)


@router.get("/version", summary="The server's version")
async def server_version() -> dict[str, str]:
    return {"version": version("spar-server")}


@router.get("/metrics", summary="Prometheus metrics")
async def metrics(request: Request) -> Response:
    registry: Metrics = request.app.state.metrics
    return Response(registry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
