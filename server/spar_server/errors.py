"""Errors as OpenAI's clients expect them: `{"error": {message, type, param, code}}` with the right status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendRejected,
    BackendTimeout,
    RequestError,
)


@dataclass
class ApiError(Exception):
    """What a client is told, with its status and headers."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None

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
        return {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}


def api_error(error: RequestError | BackendError) -> ApiError:
    """This project's errors in OpenAI's terms."""
    if isinstance(error, RequestError):
        return ApiError(400, str(error), param=error.param, code="invalid_value")
    if isinstance(error, BackendRejected):
        # Its complaint is about what the client asked for, unless it is about our own credentials.
        if error.status in (401, 403):
            return ApiError(502, "the upstream refused this server's credentials", "api_error", code="upstream")
        code = "context_length_exceeded" if "context" in str(error) else "upstream_rejected"
        return ApiError(error.status or 400, str(error), code=code)
    if isinstance(error, BackendOverloaded):
        return ApiError(
            503, str(error), "overloaded_error", code="upstream_overloaded", retry_after=error.retry_after or 1
        )
    if isinstance(error, BackendTimeout):
        return ApiError(504, str(error), "timeout_error", code="upstream_timeout")
    return ApiError(502, str(error), "api_error", code="upstream_error")
