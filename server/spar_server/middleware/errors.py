"""What a client is answered when its request fails in a way that is known, in OpenAI's shape."""

from __future__ import annotations

import logging
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_core.errors import BackendError, RequestError
from spar_server.auth.access import key_name
from spar_server.errors import ApiError, ClientGoneError, api_error, internal_error, invalid_request
from spar_server.metrics.metrics import Metrics

KNOWN: Final = (ApiError, RequestError, BackendError, RequestValidationError, HTTPException, ClientGoneError)


class ErrorResponses:
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


logger = logging.getLogger(__name__)


class ServerErrorMiddleware:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ApiError as error:
            # Of the layers between here and the application, which ask before anything of a request is read.
            await self._tell(error, scope, receive, send)
        except Exception:
            # The server outside breaks off a connection whose answer has begun.
            if started or scope["type"] != "http":
                raise
            logger.exception("unexpected error at %s", scope["path"])
            await self._tell(internal_error(), scope, receive, send)

    async def _tell(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.refused(error, key_name(scope))
        await JSONResponse(error.body, error.status, error.headers)(scope, receive, send)
