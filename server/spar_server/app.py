"""The application: routes, state and the translation of errors into OpenAI's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from time import time

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from spar_core.errors import BackendError, RequestError
from spar_server.auth import Auth, key_name
from spar_server.disconnect import ClientGoneError
from spar_server.draining import Drain
from spar_server.errors import ApiError, api_error
from spar_server.gate import build_gate
from spar_server.invalid import invalid_request
from spar_server.keys import load_keyring
from spar_server.last_resort import LastResort
from spar_server.limits import BodyLimit
from spar_server.metrics import Metrics
from spar_server.pair import Pair
from spar_server.request_id import RequestId
from spar_server.routes import chat, judge, models, ops, raw, refine, responses
from spar_server.settings import Settings


def create_app(settings: Settings, pair: Pair, metrics: Metrics | None = None) -> FastAPI:
    """The app that answers with `pair`, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await pair.aclose()

    app = FastAPI(
        title="SPaR Server",
        version=version("spar-server"),
        description="Chat completions that get better the more compute a request is given.",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.pair = pair
    app.state.metrics = metrics or Metrics()
    app.state.started = int(time())
    gate = app.state.gate = build_gate(settings, app.state.metrics.load)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limits=settings.limits)
    app.add_middleware(Auth, keyring=load_keyring(settings), quotas=gate.quotas)
    app.add_middleware(Drain, draining=gate.draining)
    app.add_middleware(LastResort, metrics=app.state.metrics)
    app.add_middleware(RequestId)
    for module in (chat, responses, judge, refine, raw, models, ops):
        app.include_router(module.router)
    _handle_errors(app)
    return app


def _handle_errors(app: FastAPI) -> None:
    def told(request: Request, error: ApiError) -> Response:
        app.state.metrics.refused(error, key_name(request.scope))
        return JSONResponse(error.body, status_code=error.status, headers=error.headers)

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return told(request, error)

    async def on_known(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError | BackendError)
        return told(request, api_error(error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return told(request, invalid_request(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return told(request, ApiError(error.status_code, str(error.detail)))

    async def on_gone(_: Request, __: Exception) -> Response:
        # Nobody reads this; 499 is what access logs call it.
        return Response(status_code=499)

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestError, on_known)
    app.add_exception_handler(BackendError, on_known)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientGoneError, on_gone)
