"""Error responses in the format of the API that was called, for expected errors and for unexpected ones."""

from __future__ import annotations

import logging
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_core.errors import BackendError, RequestError
from spar_server.auth.access import key_name
from spar_server.errors import ApiError, ClientGoneError, api_error, error_body, internal_error, invalid_request
from spar_server.http.headers import error_headers
from spar_server.http.response_start import on_start
from spar_server.metrics.metrics import Metrics

KNOWN: Final = (ApiError, RequestError, BackendError, RequestValidationError, HTTPException, ClientGoneError)


class ErrorResponses:
    """Converts expected errors into responses, and counts them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def response(self, error: Exception, scope: Scope) -> Response:
        """The response to an error of one of the types in `KNOWN`."""
        if isinstance(error, ClientGoneError):
            # The client is gone; the access log records 499.
            note_error(scope, 499)
            return Response(status_code=499)
        api = _to_api_error(error)
        note_error(scope, api.status)
        self._metrics.refused(api, key_name(scope))
        # For a wrong method, Allow lists the right ones.
        allow = (error.headers if isinstance(error, HTTPException) else None) or {}
        headers = {**error_headers(scope), **allow, **api.headers}
        return JSONResponse(error_body(api, scope["path"]), api.status, headers)


def note_error(scope: Scope, status: int) -> None:
    """Note the error status of a response, for telemetry."""
    scope.setdefault("state", {})["error_status"] = status


def _to_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError() | RequestError() | BackendError():
            return api_error(error)
        case RequestValidationError():
            return invalid_request(error.errors())
        case HTTPException():
            return ApiError(error.status_code, str(error.detail))
    raise AssertionError(f"{type(error).__name__} is not an expected error")


logger = logging.getLogger(__name__)


class ServerErrorMiddleware:
    """ASGI middleware: the last resort, which responds to errors that nothing else has handled."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        def track_start(message: Message) -> None:
            nonlocal started
            started = True

        on_start(scope, track_start)
        try:
            await self._app(scope, receive, send)
        except ApiError as error:
            # Raised by the middleware between here and the application, before the body is read.
            await self._respond(error, scope, receive, send)
        except Exception:
            # uvicorn closes the connection of a response that has started.
            if started or scope["type"] != "http":
                raise
            logger.exception("unexpected error at %s", scope["path"])
            await self._respond(internal_error(), scope, receive, send)

    async def _respond(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        note_error(scope, error.status)
        self._metrics.refused(error, key_name(scope))
        body = error_body(error, scope["path"])
        await JSONResponse(body, error.status, error.headers)(scope, receive, send)
