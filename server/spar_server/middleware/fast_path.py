"""Fast path for hot JSON routes: call their endpoints without FastAPI.

FastAPI matches routes, resolves dependencies and manages exit stacks; a JSON endpoint here depends only on its
body. FastAPI still documents these routes, and responds to their other methods.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.middleware.errors import KNOWN, ErrorResponses


class FastPathMiddleware:
    """ASGI middleware in front of the `framework`; endpoints find the shared state on `app`."""

    def __init__(
        self, framework: ASGIApp, *, app: FastAPI, routes: Iterable[BaseRoute], errors: ErrorResponses
    ) -> None:
        self._framework = framework
        self._app = app
        self._errors = errors
        self._endpoints = {route.path: route.answer for route in routes if isinstance(route, JsonRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
            await self._framework(scope, receive, send)
            return
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await self._framework(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            response = await endpoint(JsonRequest(scope, receive))
            await response(scope, receive, send)
        except KNOWN as error:
            # A stream raises them too, before its first byte.
            await self._errors.response(error, scope)(scope, receive, send)
