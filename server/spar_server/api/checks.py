"""GET /v1/checks: the checks that requests can name, with their kwargs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from spar_core.checks.registry import CHECKS
from spar_core.checks.spec import CheckSpec, Convert, bind, schema_of
from spar_core.errors import ConfigError, RequestError
from spar_server.api.openapi import CHECK_TYPES

router = APIRouter()
logger = logging.getLogger(__name__)


@router.get("/v1/checks", summary="List the checks", responses=CHECK_TYPES)
async def list_checks() -> dict[str, Any]:
    """What `refine.checks` and `/v1/judge` accept: built-in types, then those of installed packages."""
    return {"object": "list", "data": [check for id in CHECKS if (check := _check(id)) is not None]}


def _check(id: str) -> dict[str, Any] | None:
    try:
        spec = CHECKS[id]
    except ConfigError as error:
        # The other checks work, and a request that names this one is told the same.
        logger.warning("%s", error)
        return None
    kwargs = {name: dict(schema_of(convert)) for name, convert in spec.parameters.items()}
    example = _example(spec)
    return {"id": id, "object": "check", "kwargs": kwargs, "example": example, "requirement": _words(spec, example)}


def _example(spec: CheckSpec) -> dict[str, Any]:
    """Kwargs that work; of the same kind, each has another example, because some must differ."""
    example: dict[str, Any] = {}
    kinds: Counter[Convert] = Counter()
    for name, convert in spec.parameters.items():
        if examples := schema_of(convert).get("examples"):
            example[name] = examples[kinds[convert] % len(examples)]
            kinds[convert] += 1
    return example


def _words(spec: CheckSpec, example: Mapping[str, Any]) -> str | None:
    try:
        return bind(spec, example).requirement()
    except RequestError:
        # A package's kwargs need not have examples.
        return None
