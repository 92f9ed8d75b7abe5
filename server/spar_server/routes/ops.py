"""What operators ask: /health, /ready, /version, /metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from spar_server.described import ERRORS
from spar_server.metrics import Metrics

router = APIRouter()


@router.get("/health", summary="Whether the process lives", responses=ERRORS)
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready", summary="Whether it takes requests", responses=ERRORS)
async def ready() -> dict[str, bool]:
    """The server listens once its models are there, and closes its port first when it stops."""
    return {"ready": True}


@router.get("/version", summary="The server's version")
async def server_version() -> dict[str, str]:
    return {"version": version("spar-server")}


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    registry: Metrics = request.app.state.metrics
    return Response(registry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
