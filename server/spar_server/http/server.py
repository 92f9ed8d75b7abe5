"""How uvicorn is set up to serve this project's app."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from spar_server.http.protocol import bounded_protocol
from spar_server.settings import Settings


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """uvicorn with the limits of `settings.connections`, for `uvicorn.Server(...).run([listener])`."""
    return uvicorn.Config(
        app,
        http=bounded_protocol(settings.connections),
        # The limits are the HTTP protocol's, and nothing here speaks another.
        ws="none",
        # Nothing here asks who sent a request to a proxy before.
        proxy_headers=False,
        server_header=False,
        # Everything is logged as `spar_server.metrics.logs` says, and the accesses by a layer of the app.
        log_config=None,
        access_log=False,
        log_level=settings.log_level,
        # By then everything has ended but clients that do not read what they are sent.
        timeout_graceful_shutdown=1,
    )
