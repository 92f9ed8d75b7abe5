"""The lines of a batch's output and error files, as OpenAI writes them."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import from_json, to_json

from spar_server.batches.calls import Answer
from spar_server.batches.store import BatchLine

_NOT_RUN: Final = {
    "expired": ("batch_expired", "the batch expired before this request was answered"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was answered"),
    "failed": ("batch_failed", "the batch failed before this request was answered"),
}


def answered_line(batch_id: str, line: BatchLine, answer: Answer) -> str:
    """The line of a request that was answered, well or with an error."""
    response = to_json({"status_code": answer.status, "request_id": answer.headers.get("x-request-id", "")})
    # Parsed only if it could break the file's lines.
    body = answer.body if b"\n" not in answer.body else to_json(from_json(answer.body))
    whole = b'%b,"response":%b,"body":%b},"error":null}' % (_head(batch_id, line), response[:-1], body)
    return whole.decode()


def unanswered_line(batch_id: str, line: BatchLine, ending: str) -> str:
    """The line of a request that was not answered when its batch ended as `ending`."""
    code, message = _NOT_RUN[ending]
    rest: dict[str, Any] = {"response": None, "error": {"code": code, "message": message}}
    return (_head(batch_id, line) + b"," + to_json(rest)[1:]).decode()


def _head(batch_id: str, line: BatchLine) -> bytes:
    """The start of a line, without its closing brace."""
    id = f"batch_req_{batch_id.removeprefix('batch_')}_{line.number}"
    return to_json({"id": id, "custom_id": line.custom_id})[:-1]
