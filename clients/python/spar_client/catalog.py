"""What a server offers: its models, its search algorithms and its checks."""

from __future__ import annotations

from typing import Any

from spar_client.tree import Body


class Model(Body):
    """A model of the server."""

    id: str
    created: int
    owned_by: str


class Algorithm(Body):
    """A search algorithm: `refine={"algorithm": algorithm.id}`."""

    id: str


class CheckType(Body):
    """A type of check: `refine={"checks": [{"id": check.id, "kwargs": check.example}]}`.

    `kwargs` has a JSON Schema for each; `requirement` is what a model reads with the kwargs of `example`.
    """

    id: str
    kwargs: dict[str, dict[str, Any]]
    example: dict[str, Any]
    requirement: str | None


class Models(Body):
    data: list[Model]


class Algorithms(Body):
    data: list[Algorithm]


class CheckTypes(Body):
    data: list[CheckType]
