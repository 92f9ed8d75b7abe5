"""The process's edge: a mistake of ours is logged once and told in OpenAI's shape, with no detail of it.

Inside the request id's middleware, so that the id is on this answer too; the framework's own handler is outside it.
"""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_server.auth import key_name
from spar_server.errors import ApiError, internal_error
from spar_server.metrics import Metrics

logger = logging.getLogger(__name__)


class LastResort:
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
