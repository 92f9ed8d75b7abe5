"""/v1/batches, as OpenAI has it: many requests from a file, answered into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from spar_server.api.files import batch_service, page_body, waiting
from spar_server.api.openapi import ERRORS, Described, describe_body
from spar_server.api.search_schemas import Body
from spar_server.auth.access import key_of
from spar_server.errors import ApiError
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.serving.runner import json_response

if TYPE_CHECKING:
    from spar_server.batches.store import StoredBatch

Endpoint = Literal[
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/judge",
    "/v1/refine",
]


class BatchRequest(BaseModel):
    """`POST /v1/batches`: answer the requests of an uploaded file."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "input_file_id": "file-0c3f",
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                "metadata": {"run": "7"},
            }
        },
    )

    input_file_id: str = Field(max_length=64, pattern=r"^[\w-]+$")
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[
        Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] = Field(default_factory=dict, max_length=16)


class BatchError(Body):
    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(Body):
    object: Literal["list"]
    data: list[BatchError]


class RequestCounts(Body):
    total: int
    completed: int
    failed: int


class BatchBody(Body):
    """OpenAI's batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"]
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None = Field(description="the file of the requests that were answered")
    error_file_id: str | None = Field(description="the file of the requests that failed or were not answered")
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class BatchList(Body):
    object: Literal["list"]
    data: list[BatchBody]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchQuery(BaseModel):
    """Which batches to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, max_length=64, description="last id of the previous page")


_TIMES: Final = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_BATCH: Final = {
    "id": "batch_0c3f", "object": "batch", "endpoint": "/v1/chat/completions", "errors": None,
    "input_file_id": "file-0c3f", "completion_window": "24h", "status": "in_progress", "output_file_id": None,
    "error_file_id": None, "created_at": 1767225600, "in_progress_at": 1767225601, "expires_at": 1767312000,
    "finalizing_at": None, "completed_at": None, "failed_at": None, "expired_at": None, "cancelling_at": None,
    "cancelled_at": None, "request_counts": {"total": 100, "completed": 42, "failed": 0}, "metadata": {"run": "7"},
}  # fmt: skip
_LIST: Final = {
    "object": "list",
    "data": [_BATCH],
    "first_id": "batch_0c3f",
    "last_id": "batch_0c3f",
    "has_more": False,
}
BATCH: Final[Described] = {200: describe_body(BatchBody, _BATCH, "The batch"), **ERRORS}
LISTED: Final[Described] = {200: describe_body(BatchList, _LIST, "Batches, newest first"), **ERRORS}

router = APIRouter()
_json_router = APIRouter(route_class=JsonRoute)


@_json_router.post("/v1/batches", summary="Create a batch", responses=BATCH)
async def create_batch(body: BatchRequest, request: JsonRequest) -> Response:
    """OpenAI's endpoint. The file is checked as a whole before its first request is made."""
    service = await batch_service(request)
    async with waiting():
        batch = await service.batches.create(
            key=key_of(request).name,
            endpoint=body.endpoint,
            input_file=body.input_file_id,
            metadata=body.metadata,
        )
    service.runner.wake()
    return json_response(batch_body(batch))


@router.get("/v1/batches", summary="List batches", responses=LISTED)
async def list_batches(query: Annotated[BatchQuery, Query()], request: Request) -> Response:
    """The key's own batches, newest first."""
    service = await batch_service(request)
    async with waiting():
        batches, more = await service.batches.page(key_of(request).name, limit=query.limit, after=query.after)
    return json_response(page_body([batch_body(each) for each in batches], more=more))


@router.get("/v1/batches/{batch_id}", summary="Get a batch", responses=BATCH)
async def get_batch(batch_id: str, request: Request) -> Response:
    service = await batch_service(request)
    async with waiting():
        batch = await service.batches.get(batch_id, key_of(request).name)
    return json_response(batch_body(_found(batch, batch_id)))


@router.post("/v1/batches/{batch_id}/cancel", summary="Cancel a batch", responses=BATCH)
async def cancel_batch(batch_id: str, request: Request) -> Response:
    """What was answered by then is in the output file, the rest in the error file."""
    service = await batch_service(request)
    async with waiting():
        batch = await service.batches.cancel(batch_id, key_of(request).name)
    service.runner.wake()
    return json_response(batch_body(_found(batch, batch_id)))


def batch_body(batch: StoredBatch) -> dict[str, Any]:
    detail = batch.detail
    times = detail.get("times", {})
    errors = detail.get("errors")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors and {"object": "list", "data": errors},
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": detail.get("output_file"),
        "error_file_id": detail.get("error_file"),
        "created_at": int(batch.created),
        "expires_at": int(batch.expires),
        **{f"{name}_at": times.get(name) for name in _TIMES},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": detail.get("metadata") or None,
    }


def _found(batch: StoredBatch | None, id: str) -> StoredBatch:
    if batch is None:
        raise ApiError(404, f"there is no batch {id[:80]!r}, or it is not this key's", code="batch_not_found")
    return batch


router.include_router(_json_router)
