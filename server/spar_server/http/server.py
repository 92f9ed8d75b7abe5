"""The configuration of uvicorn."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from spar_server.http.protocol import bounded_protocol
from spar_server.settings import Settings


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Configure uvicorn with the limits of `settings.connections`, for `uvicorn.Server(...).run([listener])`."""
    return uvicorn.Config(
        app,
        http=bounded_protocol(settings.connections),
        # The limits only apply to HTTP, and no endpoint uses websockets.
        ws="none",
        # Nothing here needs the client address that a proxy forwards.
        proxy_headers=False,
        server_header=False,
        # `spar_server.metrics.logs` configures logging, and a middleware logs requests.
        log_config=None,
        access_log=False,
        log_level=settings.log_level,
        # By then only clients that do not read their responses are left.
        timeout_graceful_shutdown=1,
    )
