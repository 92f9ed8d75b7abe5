"""GET /v1/algorithms: the search algorithms that requests can name."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from spar_core.search import STRATEGIES
from spar_server.api.openapi import ALGORITHMS

router = APIRouter()


@router.get("/v1/algorithms", summary="List the search algorithms", responses=ALGORITHMS)
async def list_algorithms() -> dict[str, Any]:
    """What `refine.algorithm` accepts: built-in algorithms, then those of installed packages."""
    return {"object": "list", "data": [{"id": name, "object": "algorithm"} for name in STRATEGIES]}
