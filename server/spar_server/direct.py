"""The way of the requests that come most: from the middlewares straight to their endpoint.

The framework finds a route, resolves what it depends on and keeps stacks of what is to be closed; a JSON endpoint of
this server depends on its body alone. FastAPI still knows these routes: it documents them, and answers what asks for
them by another method.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_server.error_answers import KNOWN, ErrorAnswers
from spar_server.json_body import JsonRequest, JsonRoute


class Direct:
    """ASGI middleware, the innermost; `routes` are those that it may know."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], errors: ErrorAnswers) -> None:
        self._app = app
        self._errors = errors
        self._endpoints = {route.path: route.answer for route in routes if isinstance(route, JsonRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(JsonRequest(scope, receive))
        except KNOWN as error:
            response = self._errors.answer(error, scope)
        await response(scope, receive, send)
