"""The way of the requests that come most: from the gate's layers straight to their endpoint.

The framework finds a route, resolves what it depends on and keeps stacks of what is to be closed; a JSON endpoint of
this server depends on its body alone. FastAPI still knows these routes: it documents them, and answers what asks for
them by another method.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.middleware.errors import KNOWN, ErrorResponses


class FastPathMiddleware:
    """ASGI middleware before the `framework`; `app` is what its endpoints ask for what they share."""

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
            # A stream raises them too, before it has begun.
            await self._errors.answer(error, scope)(scope, receive, send)
