"""What a client is answered when its request fails in a way that is known, in OpenAI's shape."""

from __future__ import annotations

from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from spar_core.errors import BackendError, RequestError
from spar_server.auth import key_name
from spar_server.disconnect import ClientGoneError
from spar_server.errors import ApiError, api_error
from spar_server.invalid import invalid_request
from spar_server.metrics import Metrics

KNOWN: Final = (ApiError, RequestError, BackendError, RequestValidationError, HTTPException, ClientGoneError)


class ErrorAnswers:
    """Turns errors into answers, and counts them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def answer(self, error: Exception, scope: Scope) -> Response:
        """The answer to a failure that is one of `KNOWN`."""
        if isinstance(error, ClientGoneError):
            # Nobody reads this; 499 is what access logs call it.
            return Response(status_code=499)
        told = _told(error)
        self._metrics.refused(told, key_name(scope))
        # Of a wrong method: the ones that there are.
        known = (error.headers if isinstance(error, HTTPException) else None) or {}
        return JSONResponse(told.body, status_code=told.status, headers={**known, **told.headers})


def _told(error: Exception) -> ApiError:
    match error:
        case ApiError() | RequestError() | BackendError():
            return api_error(error)
        case RequestValidationError():
            return invalid_request(error.errors())
        case HTTPException():
            return ApiError(error.status_code, str(error.detail))
    raise AssertionError(f"{type(error).__name__} is none of the known failures")
