"""API errors in OpenAI's format: `{"error": {message, type, param, code}}`, each with its HTTP status.

Those of /v1/messages have Anthropic's format: `{"type": "error", "error": {type, message}, "request_id"}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from spar_core.backends.context import call_context
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendRejected,
    BackendTimeout,
    RequestError,
)


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


class StoreError(Exception):
    """The database of traces and batches cannot be read or written."""


class StoreRefusedError(StoreError):
    """The database refuses a value of this row; others may still be written."""


class LeaseLostError(Exception):
    """Another process runs the batch now, or it is gone."""


# The engines in this process use these words for a prompt that does not fit.
_TOO_LONG: Final = re.compile(r"context[ _]length", re.IGNORECASE)


@dataclass
class ApiError(Exception):
    """An error response with its status and headers.

    OpenAI's clients retry most failures twice; `final` asks them not to, because a retry would fail the same way.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None
    final: bool = False

    @property
    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code or str(self.status),
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        headers = {"x-should-retry": "false"} if self.final else {}
        if self.retry_after is not None:
            # Rounded up, so that a retry is not too early.
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


MESSAGES_PATH: Final = "/v1/messages"
_MESSAGES_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(error: ApiError, path: str) -> dict[str, Any]:
    """The error's body in the format of the API that `path` belongs to: OpenAI's, or Anthropic's."""
    return messages_error_body(error) if path == MESSAGES_PATH else error.body


def messages_error_body(error: ApiError) -> dict[str, Any]:
    """The error in Anthropic's format, whose messages name the field."""
    kind = _MESSAGES_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": error.message},
        "request_id": call_context().request_id,
    }


def api_error(error: ApiError | RequestError | BackendError) -> ApiError:
    """Translate an error of this project. Errors of model calls contain the request id, to be found in the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, str(error), param=error.param, code="invalid_value")
    answer = _from_backend(error)
    request_id = call_context().request_id
    return answer if request_id is None else replace(answer, message=f"{answer.message} (request {request_id})")


def _from_backend(error: BackendError) -> ApiError:
    if isinstance(error, BackendRejected):
        return _rejected(error)
    if isinstance(error, BackendOverloaded):
        status = 429 if error.status == 429 else 503
        return ApiError(
            status, str(error), "overloaded_error", code="upstream_overloaded", retry_after=error.retry_after or 1
        )
    if isinstance(error, BackendTimeout):
        return ApiError(504, str(error), "timeout_error", code="upstream_timeout", final=True)
    return ApiError(502, str(error), "api_error", code="upstream_error")


def _rejected(error: BackendRejected) -> ApiError:
    """Pass the upstream's message on if it is about the client's request, but not if it is about this server."""
    if error.status in (400, 413, 422):
        too_long = "context_length_exceeded" if _TOO_LONG.search(str(error)) else None
        code = error.code or too_long or "upstream_rejected"
        return ApiError(413 if error.status == 413 else 400, str(error), param=error.param, code=code)
    what = "credentials" if error.status in (401, 403) else f"request ({error.status})"
    return ApiError(502, f"the upstream refused this server's {what}", "api_error", code="upstream_error", final=True)


def rename_fields(error: RequestError, names: Mapping[str, str]) -> RequestError:
    """The same error with field names of one API replaced by those of another."""
    message, param = str(error), error.param
    for theirs, ours in names.items():
        message, param = message.replace(theirs, ours), param and param.replace(theirs, ours)
    return RequestError(message, param=param)


def internal_error() -> ApiError:
    """The response to an unexpected error, whose details are in the log."""
    return ApiError(500, "internal error; see the server's log", "api_error", code="internal_error", final=True)


# A part of pydantic's location that names one of a field's types, not a field.
_TYPE: Final = re.compile(r"(str|int|float|bool|none)$|(list|dict|constrained|nullable|function|literal)[\[-]")


def invalid_request(problems: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first validation error; for a field with several types, what each of them accepts."""
    first = problems[0]
    field = _field(first)
    if first["type"] == "extra_forbidden":
        message = f"{field}: unknown key; see /docs for the known ones"
    else:
        expected = dict.fromkeys(str(problem["msg"]) for problem in problems if _field(problem) == field)
        message = f"{field or 'body'}: {', or '.join(expected)}"
    return ApiError(400, message, param=field or None, code="invalid_value")


def _field(problem: Mapping[str, Any]) -> str:
    location = problem["loc"][1:] if problem["loc"][:1] in (("body",), ("query",), ("path",)) else problem["loc"]
    return ".".join(str(part) for part in location if not _TYPE.match(str(part)))
