"""The errors of this client. Those with a status mirror the server's.

ClientError
├── APIConnectionError         no server there, or the connection broke
│   └── APITimeoutError        no answer within the client's own time-out
├── APIProtocolError           the answer is not one of a SPaR Server
└── APIStatusError             the server's error: status, message, type, param, code, request_id
    ├── BadRequestError        400 and 415: the request is wrong; `param` names the field
    │   └── RequestTooLargeError   413
    ├── AuthenticationError    401: no known API key
    ├── PermissionDeniedError  403: the key may not use the model
    ├── NotFoundError          404: no such model or route
    ├── RateLimitError         429: the key is over its quota, or an upstream is overloaded; `retry_after` in seconds
    └── InternalServerError    500 and other 5xx: a bug of the server
        ├── UpstreamError      502: a model failed
        ├── OverloadedError    503: the server is full or stopping; `retry_after` in seconds
        └── DeadlineError      504: the deadline came before there was an answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


class ClientError(Exception):
    """Base of the tree."""


class APIConnectionError(ClientError):
    """There is no server at the address, or the connection broke before the end of the answer."""


class APITimeoutError(APIConnectionError):
    """No answer within the client's time-out."""


class APIProtocolError(ClientError):
    """The answer is not one of a SPaR Server."""


class APIStatusError(ClientError):
    """An error that the server reported, with OpenAI's fields.

    In a stream that had started, `status` is derived from the error's code, because the response's was 200.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class BadRequestError(APIStatusError):
    """The request is wrong; `param` names the field."""


class RequestTooLargeError(BadRequestError):
    """The request is larger than the server allows."""


class AuthenticationError(APIStatusError):
    """The server does not know the API key."""


class PermissionDeniedError(APIStatusError):
    """The key may not use the model."""


class NotFoundError(APIStatusError):
    """No such model or route."""


class RateLimitError(APIStatusError):
    """The key is over its quota, or an upstream is overloaded."""


class InternalServerError(APIStatusError):
    """The server failed."""


class UpstreamError(InternalServerError):
    """A model behind the server failed."""


class OverloadedError(InternalServerError):
    """The server is full or stopping."""


class DeadlineError(InternalServerError):
    """The deadline came before there was an answer."""


_BY_STATUS: Final[Mapping[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: RequestTooLargeError,
    415: BadRequestError,
    429: RateLimitError,
    502: UpstreamError,
    503: OverloadedError,
    504: DeadlineError,
}
# Codes of errors that can end a stream.
_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "upstream_error": 502,
    "upstream_overloaded": 503,
    "upstream_timeout": 504,
    "internal_error": 500,
}


def status_error(
    status: int,
    body: Any,
    *,
    text: str = "",
    request_id: str | None = None,
    retry_after: float | None = None,
) -> APIStatusError:
    """The error of a response with `status`; `text` is its body where that is not an error in OpenAI's format."""
    error = body.get("error") if isinstance(body, Mapping) else None
    fields = {name: error.get(name) for name in ("type", "param", "code")} if isinstance(error, Mapping) else {}
    message = str(error["message"]) if isinstance(error, Mapping) and error.get("message") else text[:200]
    kind = _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    return kind(
        message or f"the server answered {status}",
        status=status,
        request_id=request_id,
        retry_after=retry_after,
        **fields,
    )


def stream_error(body: Mapping[str, Any], *, request_id: str | None = None) -> APIStatusError:
    """The error of a frame that ends a stream."""
    error = body["error"]
    code = str(error.get("code")) if isinstance(error, Mapping) else ""
    status = _STATUS_OF_CODE.get(code) or (int(code) if code.isdecimal() else 500)
    return status_error(status, body, request_id=request_id)
