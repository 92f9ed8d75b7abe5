"""The application: routes, shared state, middleware and error responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cached_property
from importlib.metadata import version
from time import time
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from starlette.datastructures import State
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_core.errors import ConfigError
from spar_server.admission.long_work import LongWork
from spar_server.api import (
    algorithms,
    batches,
    chat,
    checks,
    docs,
    files,
    health,
    judge,
    models,
    passthrough,
    playground,
    refine,
    rewards,
    traces,
)
from spar_server.api.messages import route as messages
from spar_server.api.openapi import add_chunks, add_security
from spar_server.api.responses import route as responses
from spar_server.auth.keyring import Keyring, is_loopback, load_keyring
from spar_server.auth.quotas import Usage
from spar_server.batches.service import open_batches, running
from spar_server.metrics.metrics import Metrics
from spar_server.middleware.access_log import AccessLogMiddleware
from spar_server.middleware.auth import AuthMiddleware
from spar_server.middleware.body_limit import BodyLimitMiddleware
from spar_server.middleware.drain import DrainMiddleware
from spar_server.middleware.errors import KNOWN, ErrorResponses, ServerErrorMiddleware
from spar_server.middleware.fast_path import FastPathMiddleware
from spar_server.middleware.hosts import AllowedHostsMiddleware
from spar_server.middleware.metrics_access import MetricsAccessMiddleware
from spar_server.middleware.request_id import RequestIdMiddleware
from spar_server.models.pair import ServedPair
from spar_server.serving.bill import BILL_HEADERS
from spar_server.serving.gate import Gate, build_gate
from spar_server.serving.model_name import check_aliases
from spar_server.serving.recording import join_recorders
from spar_server.serving.usage import usage_of
from spar_server.settings import Settings
from spar_server.traces.opening import open_recorder
from spar_server.traces.recorder import TraceRecorder

if TYPE_CHECKING:
    from spar_server.telemetry.telemetry import Telemetry


_STALE_TELEMETRY: Final = "telemetry (it names models and servers as at the start)"


class _SharedState(State):
    """Keeps its values as plain attributes, which are found in a fraction of the time: each request reads seven."""

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Gateway(FastAPI):
    """FastAPI behind `front`, this server's own middleware, which runs before any of the framework's."""

    front: ASGIApp
    needs_key = False
    auth: AuthMiddleware
    body_limit: BodyLimitMiddleware
    pair: ServedPair

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)

    def change(self, settings: Settings, keyring: Keyring | None, pair: ServedPair) -> tuple[str, ...]:
        """Serve these from the next request on; requests that are under way keep what they have found.

        Returns the names of settings that need a restart.
        """
        self.state.settings = settings
        stale = [_STALE_TELEMETRY] if self.state.telemetry is not None and pair is not self.pair else []
        self.set_pair(pair)
        share = _key_share(settings, keyring)
        self.auth.change(keyring, share)
        gate: Gate = self.state.gate
        for shared in (gate.searches, gate.passed_through, self.body_limit, self.state.long_work):
            shared.share_out(share)
        return *stale, *_traces_without_store(self.state.recorder, keyring)

    def set_pair(self, pair: ServedPair) -> None:
        """Serve this pair, with its calls observed if there is telemetry."""
        telemetry: Telemetry | None = self.state.telemetry
        metrics: Metrics = self.state.metrics
        self.pair, metrics.prices = pair, pair.prices
        self.state.pair = pair if telemetry is None else telemetry.observe(pair)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request in FastAPI itself."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = add_security(add_chunks(super().openapi()), required=self.needs_key)
        return self.openapi_schema

    @cached_property
    def openapi_document(self) -> bytes:
        """The body of /openapi.json."""
        return json.dumps(self.openapi()).encode()


def create_app(
    settings: Settings,
    pair: ServedPair,
    metrics: Metrics | None = None,
    *,
    telemetry: Telemetry | None = None,
    keyring: Keyring | None = None,
    usage: Usage | None = None,
    expires_traces: bool = True,
) -> Gateway:
    """Create the app that serves `pair`, and closes it on shutdown.

    The settings' telemetry and keys are the defaults. Several processes that serve as one share a `usage` of the keys,
    and only one of them expires traces.
    """

    @asynccontextmanager
    async def lifespan(app: Gateway) -> AsyncIterator[None]:
        # Rendered before the first request, because it takes a tenth of a second.
        _ = app.openapi_document
        if recorder is not None:
            recorder.start(expires=expires_traces)
        if telemetry is not None:
            telemetry.start()
        async with running(app.state.batches, expires=expires_traces):
            yield
        if recorder is not None:
            await recorder.aclose()
        if telemetry is not None:
            await telemetry.aclose()
        # Not necessarily the one that it began with.
        await app.pair.aclose()

    app = Gateway(
        title="SPaR Server",
        version=version("spar-server"),
        description="An OpenAI-compatible API whose answers improve the more compute a request is given.",
        lifespan=lifespan,
        # The framework's own pages load scripts from the internet.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state = _SharedState()
    keyring = keyring or load_keyring(settings)
    check_pair(settings, keyring, pair)
    app.state.settings = settings
    app.state.metrics = metrics or Metrics()
    if telemetry is None and settings.telemetry.enabled:
        # Not imported where it is off.
        from spar_server.telemetry.opening import open_telemetry

        telemetry = open_telemetry(settings, pair, app.state.metrics.telemetry_dropped)
    app.state.telemetry = telemetry
    app.set_pair(pair)
    app.state.started = int(time())
    recorder = app.state.recorder = open_recorder(settings, keyring, app.state.metrics.traces, usage_of=usage_of)
    app.state.search_recorder = join_recorders(recorder, telemetry)
    app.state.batches = open_batches(settings, app)
    share = _key_share(settings, keyring)
    gate = app.state.gate = build_gate(settings, app.state.metrics.load, key_share=share, usage=usage)
    long_work = app.state.long_work = LongWork(max_wait_s=settings.admission.max_wait_s, key_share=share)
    errors = ErrorResponses(app.state.metrics)
    modules = (
        chat,
        responses,
        messages,
        judge,
        rewards,
        refine,
        passthrough,
        models,
        algorithms,
        checks,
        traces,
        files,
        batches,
        health,
        docs,
        playground,
    )
    for module in modules:
        app.include_router(module.router)
    _handle_errors(app, errors)
    # From the innermost to the outermost layer.
    routes = [route for module in modules for route in module.router.routes]
    front: ASGIApp = FastPathMiddleware(app.framework, app=app, routes=routes, errors=errors)
    front = app.body_limit = BodyLimitMiddleware(
        front,
        settings.limits,
        streamed={"/v1/files": settings.batches.max_form_bytes},
        max_wait_s=settings.admission.max_wait_s,
        key_share=share,
    )
    app.needs_key = keyring is not None
    front = app.auth = AuthMiddleware(front, keyring=keyring, quotas=gate.quotas, share=share, off_loop=long_work)
    front = DrainMiddleware(front, draining=gate.draining)
    front = _guarded(front, settings, keyed=keyring is not None)
    front = ServerErrorMiddleware(front, metrics=app.state.metrics)
    if settings.cors_origins:
        front = CORSMiddleware(
            front,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("x-request-id", *BILL_HEADERS, "retry-after", "x-should-retry"),
        )
    if telemetry is not None:
        from spar_server.middleware.telemetry import TelemetryMiddleware

        front = TelemetryMiddleware(front, telemetry)
    app.front = RequestIdMiddleware(AccessLogMiddleware(front))
    return app


def check_pair(settings: Settings, keyring: Keyring | None, pair: ServedPair) -> None:
    """Check that the names and costs of models suit the pair.

    Raises:
        ConfigError: an alias hides the pair, or something bounds the cost of models without a price.
    """
    check_aliases(settings.models, pair.name)
    bounded = [f"keys: {key.name}" for key in keyring or () if key.max_cost is not None]
    bounded += [f"models.{name}" for name, alias in settings.models.items() if alias.max_cost is not None]
    if bounded and (model := pair.unpriced()) is not None:
        raise ConfigError(f"{bounded[0]}: max_cost needs a price for the model {model}; set prices.{model}")


def _key_share(settings: Settings, keyring: Keyring | None) -> float:
    """The largest fraction of anything that one key can use."""
    return settings.admission.key_share if keyring and len(keyring) > 1 else 1.0


def _traces_without_store(recorder: TraceRecorder | None, keyring: Keyring | None) -> Iterator[str]:
    """The keys' shares of searches to store where the server was started without a store."""
    if recorder is None:
        yield from (f"keys.{key.name}.traces" for key in keyring or () if key.traces)


def _guarded(front: ASGIApp, settings: Settings, *, keyed: bool) -> ASGIApp:
    """Wrap `front` in the middleware that only some configurations need."""
    metrics = settings.metrics
    if not keyed and is_loopback(settings.host):
        is_public = metrics.port is not None and not is_loopback(metrics.host or settings.host)
        front = AllowedHostsMiddleware(front, settings.allowed_hosts, open_port=metrics.port if is_public else None)
    if metrics.port is not None or metrics.key_sha256 is not None:
        front = MetricsAccessMiddleware(front, metrics)
    return front


def _handle_errors(app: FastAPI, errors: ErrorResponses) -> None:
    async def respond(request: Request, error: Exception) -> Response:
        return errors.response(error, request.scope)

    for known in KNOWN:
        app.add_exception_handler(known, respond)
