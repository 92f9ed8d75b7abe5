"""/v1/files, as OpenAI has it: the input and output files of batches."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from spar_server.api.openapi import ERRORS, Described, describe_body
from spar_server.api.search_schemas import Body
from spar_server.api.stores import waiting_for
from spar_server.auth.access import check_private, key_of
from spar_server.errors import ApiError, ClientGoneError, StoreError
from spar_server.http.multipart import FormPart, read_form
from spar_server.serving.runner import json_response
from spar_server.settings import Settings

if TYPE_CHECKING:
    from spar_server.batches.files import FileStore, FileWriter, StoredFile
    from spar_server.batches.service import BatchService

waiting: Final = partial(waiting_for, "store of files and batches", "store_unavailable")
# As OpenAI's bounds.
_MIN_EXPIRES_S: Final = 3600
_MAX_FILENAME: Final = 256


class FileBody(Body):
    """OpenAI's file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"]


class FileList(Body):
    object: Literal["list"]
    data: list[FileBody]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(Body):
    id: str
    object: Literal["file"]
    deleted: Literal[True]


class FileQuery(BaseModel):
    """Which files to list."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal["batch", "batch_output"] | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)
    order: Literal["asc", "desc"] = "desc"
    after: str | None = Field(default=None, max_length=64, description="last id of the previous page")


_FILE: Final = {
    "id": "file-0c3f", "object": "file", "bytes": 4096, "created_at": 1767225600, "expires_at": 1769817600,
    "filename": "requests.jsonl", "purpose": "batch", "status": "processed",
}  # fmt: skip
_LIST: Final = {"object": "list", "data": [_FILE], "first_id": "file-0c3f", "last_id": "file-0c3f", "has_more": False}
_DELETED: Final = {"id": "file-0c3f", "object": "file", "deleted": True}
FILE: Final[Described] = {200: describe_body(FileBody, _FILE, "The file"), **ERRORS}
LISTED: Final[Described] = {200: describe_body(FileList, _LIST, "The files"), **ERRORS}
DELETED: Final[Described] = {200: describe_body(DeletedFile, _DELETED, "The file was deleted"), **ERRORS}
CONTENT: Final[Described] = {
    200: {
        "description": "The content",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    **ERRORS,
}
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["purpose", "file"],
                    "properties": {
                        "purpose": {"type": "string", "enum": ["batch"]},
                        "file": {"type": "string", "format": "binary", "description": "a request per line, as JSON"},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": _MIN_EXPIRES_S},
                    },
                }
            }
        },
    }
}

router = APIRouter()


@router.post("/v1/files", summary="Upload a file", responses=FILE, openapi_extra=_FORM)
async def upload(request: Request) -> Response:
    """OpenAI's endpoint, for files with the purpose `batch`. The file is stored as it arrives."""
    service = await batch_service(request)
    _check_origin(request)
    fields: dict[str, str] = {}
    writer: FileWriter | None = None
    try:
        # As long as the upload takes.
        async with waiting(seconds=None):
            async with aclosing(read_form(request.headers.get("content-type", ""), request.stream())) as parts:
                async for part in parts:
                    if part.is_file:
                        writer = writer or await _create(service.files, part, request)
                        await writer.write(part.data)
                    else:
                        fields[part.name] = part.data.decode(errors="replace")
            expires_s = _check_fields(fields)
            if writer is None:
                raise ApiError(400, "file: is needed, as a field with a file name", param="file", code="invalid_value")
            file = await writer.finish(expires_s)
            if not file.size:
                raise ApiError(400, "file: is empty", param="file", code="invalid_value")
    except BaseException as error:
        if writer is not None:
            with suppress(StoreError):
                await asyncio.shield(writer.discard())
        if isinstance(error, ClientDisconnect):
            raise ClientGoneError from error
        raise
    return json_response(file_body(file))


@router.get("/v1/files", summary="List files", responses=LISTED)
async def list_files(query: Annotated[FileQuery, Query()], request: Request) -> Response:
    """The key's own files, by default the newest first."""
    service = await batch_service(request)
    async with waiting():
        files, more = await service.files.page(
            key_of(request).name,
            limit=query.limit,
            after=query.after,
            purpose=query.purpose,
            ascending=query.order == "asc",
        )
    return json_response(page_body([file_body(each) for each in files], more=more))


@router.get("/v1/files/{file_id}", summary="Get a file's description", responses=FILE)
async def get_file(file_id: str, request: Request) -> Response:
    _, file = await _find(file_id, request)
    return json_response(file_body(file))


@router.get("/v1/files/{file_id}/content", summary="Get a file's content", responses=CONTENT)
async def get_content(file_id: str, request: Request) -> Response:
    service, file = await _find(file_id, request)
    pieces = service.files.pieces(file)
    async with waiting():
        first = await anext(pieces)

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    # Never shown by a browser, because anything can be uploaded.
    headers = {
        "content-length": str(file.size),
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(content(), media_type="application/octet-stream", headers=headers)


@router.delete("/v1/files/{file_id}", summary="Delete a file", responses=DELETED)
async def delete_file(file_id: str, request: Request) -> Response:
    """A file that an unfinished batch reads cannot be deleted."""
    service = await batch_service(request)
    async with waiting():
        deleted = await service.files.delete(file_id, key_of(request).name)
    if not deleted:
        raise _not_found(file_id)
    return json_response({"id": file_id, "object": "file", "deleted": True})


async def batch_service(request: Request) -> BatchService:
    """The service, with its tables in the database.

    Raises:
        ApiError: 404; it is off. 403; it has no keys. 503; the database is in trouble.
    """
    service: BatchService | None = request.app.state.batches
    if service is None:
        raise ApiError(
            404, "this server has no files and batches; its setting batches.enabled is off", code="batches_off"
        )
    check_private(request, "files")
    async with waiting():
        await service.database.open()
    return service


def page_body(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """OpenAI's list, which has the ids of its first and last entry."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def file_body(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": int(file.expires),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": file.status,
    }


async def _create(files: FileStore, part: FormPart, request: Request) -> FileWriter:
    if part.name != "file":
        raise ApiError(400, f"{part.name[:80]}: unknown file; send it as file", param=part.name[:80])
    settings: Settings = request.app.state.settings
    # Without what a database or a terminal might trip over.
    filename = re.sub(r"[\x00-\x1f\x7f]", "", part.filename or "")[:_MAX_FILENAME] or "upload"
    expires = time.time() + settings.batches.max_age_s
    return await files.create(key=key_of(request).name, filename=filename, purpose="batch", expires=expires)


def _check_fields(fields: dict[str, str]) -> float | None:
    """Check a form's fields; returns after how many seconds the file shall expire, if it says so."""
    if fields.pop("purpose", None) != "batch":
        raise ApiError(
            400, "purpose: must be batch, the only one of this server", param="purpose", code="invalid_value"
        )
    anchor, seconds = fields.pop("expires_after[anchor]", "created_at"), fields.pop("expires_after[seconds]", None)
    if anchor != "created_at":
        param = "expires_after[anchor]"
        raise ApiError(400, f"{param}: must be created_at", param=param, code="invalid_value")
    if seconds is not None and not (re.fullmatch(r"[0-9]{4,9}", seconds) and int(seconds) >= _MIN_EXPIRES_S):
        param = "expires_after[seconds]"
        raise ApiError(400, f"{param}: must be at least {_MIN_EXPIRES_S}", param=param, code="invalid_value")
    if fields:
        name = next(iter(fields))[:80]
        raise ApiError(400, f"{name}: unknown field; see /docs for the known ones", param=name, code="invalid_value")
    return None if seconds is None else float(seconds)


def _check_origin(request: Request) -> None:
    """Refuse forms of other web pages, which need no preflight request, where no key protects from them."""
    origin = request.headers.get("origin")
    if request.app.needs_key or origin is None:
        return
    settings: Settings = request.app.state.settings
    allowed = settings.cors_origins
    if "*" not in allowed and origin not in allowed and urlsplit(origin).netloc != request.headers.get("host"):
        raise ApiError(403, "a page of another origin cannot upload; see cors_origins", code="origin_not_allowed")


async def _find(file_id: str, request: Request) -> tuple[BatchService, StoredFile]:
    service = await batch_service(request)
    async with waiting():
        file = await service.files.get(file_id, key_of(request).name)
    if file is None:
        raise _not_found(file_id)
    return service, file


def _not_found(id: str) -> ApiError:
    # The same for a file of another key: that it exists is no one else's business.
    return ApiError(404, f"there is no file {id[:80]!r}, or it is not this key's", code="file_not_found")
