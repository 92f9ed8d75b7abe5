"""Access to /metrics, which contains the names of API keys: by a separate port, a separate key, or both."""

from __future__ import annotations

import hmac
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from spar_server.auth.keyring import sha256_of
from spar_server.errors import ApiError
from spar_server.http.headers import header_of
from spar_server.settings import MetricsSettings

_PATH: Final = "/metrics"


class MetricsAccessMiddleware:
    """ASGI middleware. A separate port serves only /metrics, and /metrics is then a 404 on the main port."""

    def __init__(self, app: ASGIApp, settings: MetricsSettings) -> None:
        self._app = app
        self._port = settings.port
        self._sha256 = settings.key_sha256

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            is_metrics = scope["path"] == _PATH
            if self._port is not None and is_metrics != (scope["server"][1] == self._port):
                raise ApiError(404, "Not Found")
            if is_metrics and self._sha256 is not None:
                self._check_key(header_of(scope, b"authorization") or "")
        await self._app(scope, receive, send)

    def _check_key(self, authorization: str) -> None:
        assert self._sha256 is not None
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(sha256_of(secret.strip()), self._sha256):
            raise ApiError(
                401, "/metrics needs its own key (metrics.key_sha256)", "authentication_error", code="invalid_api_key"
            )
