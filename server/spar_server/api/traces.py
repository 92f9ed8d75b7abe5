"""GET /v1/traces, GET /v1/traces/{id} and POST /v1/traces/{id}/feedback: stored searches."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from spar_core.search import StopReason
from spar_server.api.openapi import FEEDBACK, TRACE, TRACES
from spar_server.api.stores import waiting_for
from spar_server.auth.access import check_private, key_of
from spar_server.errors import ApiError
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.schemas import Number
from spar_server.serving.runner import json_response
from spar_server.traces.recorder import TraceRecorder

if TYPE_CHECKING:
    from spar_server.traces.store import TraceStore

_waiting: Final = partial(waiting_for, "trace store", "trace_store_unavailable")
_ID: Final = re.compile(r"[0-9a-f]{1,64}")
# Ids of responses contain that of their trace.
_RESPONSE_ID: Final = re.compile(r"(chatcmpl-|resp_)")


class TraceQuery(BaseModel):
    """Which traces to list."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(default=None, pattern=r"^[\w.-]{1,64}$", description="name of an API key")
    model: str | None = Field(default=None, pattern=r"^[^\x00-\x1f]{1,256}$")
    since: datetime | None = Field(default=None, description="first time, as ISO 8601 or seconds since 1970")
    until: datetime | None = Field(default=None, description="time before which the searches finished")
    stop_reason: StopReason | None = None
    improved: bool | None = Field(default=None, description="whether the answer replaced the draft")
    accepted: bool | None = Field(default=None, description="whether the judge accepted the answer")
    budget: int | None = Field(default=None, ge=0, le=2**31 - 1)
    detail: Literal["summary", "full"] = Field(default="summary", description="full: the whole traces; pages are short")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=200, description="next_cursor of the previous page")


class FeedbackRequest(BaseModel):
    """`POST /v1/traces/{id}/feedback`: what a person says about an answer."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"score": 1, "comment": "The lamp is there now."}}
    )

    score: Number = Field(ge=-1, le=1, description="from -1, useless, to 1, perfect")
    comment: str = Field(default="", max_length=4000)


router = APIRouter()
_json_router = APIRouter(route_class=JsonRoute)


@router.get("/v1/traces", summary="List stored searches", responses=TRACES)
async def list_traces(query: Annotated[TraceQuery, Query()], request: Request) -> Response:
    """Newest first. A key sees its own searches, unless it has `read_traces = "all"`."""
    from spar_server.traces.store import Cursor, TraceFilter

    recorder, key = _recorder(request), _visible_key(request)
    if key is not None and query.key not in (None, key):
        raise ApiError(403, "key: this API key sees its own traces only", param="key", code="traces_not_allowed")
    filters = TraceFilter(
        key=key or query.key,
        model=query.model,
        since=_seconds(query.since),
        until=_seconds(query.until),
        stop_reason=query.stop_reason,
        improved=query.improved,
        accepted=query.accepted,
        budget=query.budget,
    )
    after, full = Cursor.decode(query.cursor) if query.cursor else None, query.detail == "full"
    async with _waiting():
        page = await recorder.store.page(filters, limit=query.limit, after=after, bodies=full)
    traces = [_summary(columns) for columns in page.traces]
    more = {"has_more": page.next_cursor is not None, "next_cursor": page.next_cursor}
    if not full:
        return json_response({"object": "list", "data": traces, **more})
    whole = zip(traces, page.feedback, page.bodies, strict=True)
    data = b",".join(_join({**each, **_feedback(given)}, body) for each, given, body in whole)
    return _json(b'{"object":"list","data":[%b],%b' % (data, to_json(more)[1:]))


@router.get("/v1/traces/{trace_id}", summary="Get a stored search", responses=TRACE)
async def get_trace(trace_id: str, request: Request) -> Response:
    """`trace_id` is `spar.trace_id` of a response, its header `x-spar-trace-id`, or the response's own id."""
    store, id = await _find(trace_id, request)
    async with _waiting():
        found = await store.get(id)
    if found is None:
        raise _not_found(id)
    columns, body, feedback = found
    return _json(_join({**_summary(columns), **_feedback(feedback)}, body))


@_json_router.post("/v1/traces/{trace_id}/feedback", summary="Give feedback on an answer", responses=FEEDBACK)
async def give_feedback(body: FeedbackRequest, request: JsonRequest) -> Response:
    """Store a score and a comment with a search. Feedback from the same key replaces the previous one."""
    store, id = await _find(request.path_params["trace_id"], request)
    given: dict[str, Any] = {
        "key": key_of(request).name,
        "created": round(time.time(), 3),
        "score": body.score,
        "comment": body.comment,
    }
    async with _waiting():
        await store.add_feedback(id, **given)
    return json_response({"object": "trace.feedback", "trace_id": id, **given})


def _recorder(request: Request) -> TraceRecorder:
    recorder: TraceRecorder | None = request.app.state.recorder
    if recorder is None:
        raise ApiError(404, "this server stores no traces; its setting traces.record is off", code="traces_off")
    return recorder


def _visible_key(request: Request) -> str | None:
    """The name of the key whose traces the request may read; None for all keys'.

    Raises:
        ApiError: 403; without keys, everyone who can reach the server would read everyone's conversations.
    """
    check_private(request, "traces")
    key = key_of(request)
    return None if key.read_traces == "all" else key.name


async def _find(trace_id: str, request: Request) -> tuple[TraceStore, str]:
    """The store and the id of a trace that the request may read, waiting for one that is about to be written.

    Raises:
        ApiError: 404; there is no such trace for this key.
    """
    recorder, key = _recorder(request), _visible_key(request)
    id = _RESPONSE_ID.sub("", trace_id, count=1)
    if not _ID.fullmatch(id):
        raise _not_found(trace_id)
    await recorder.written(id)
    async with _waiting():
        owner = await recorder.store.key_of(id)
    # The same for a trace of another key: that it exists is no one else's business.
    if owner is None or (key is not None and owner != key):
        raise _not_found(id)
    return recorder.store, id


def _not_found(id: str) -> ApiError:
    return ApiError(404, f"there is no trace {id[:80]!r}, or it is not this key's", code="trace_not_found")


def _seconds(moment: datetime | None) -> float | None:
    """Seconds since 1970; a time without a zone is in UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _summary(columns: dict[str, Any]) -> dict[str, Any]:
    return {"id": columns["id"], "object": "trace", **{name: columns[name] for name in columns if name != "size"}}


def _feedback(given: list[dict[str, Any]]) -> dict[str, Any]:
    return {"feedback": [{"object": "trace.feedback", **each} for each in given]}


def _join(head: dict[str, Any], body: str) -> bytes:
    """One JSON object of both; the body is not parsed, because it can be long."""
    rest = body.encode()[1:]
    return to_json(head)[:-1] + (b"" if rest.lstrip() == b"}" else b",") + rest


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


router.include_router(_json_router)
