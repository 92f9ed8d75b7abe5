"""The host names that a server without keys responds to.

A web page can point its own name to 127.0.0.1 (DNS rebinding), and its scripts could then read the responses of a local
server. Such requests have the page's name in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from spar_server.errors import ApiError
from spar_server.http.headers import header_of

_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class AllowedHostsMiddleware:
    """ASGI middleware: refuses requests for host names other than local ones and `names` with a 403.

    Connections to `open_port` are not checked. A request without `Host` is allowed, because no browser sends it.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], open_port: int | None = None) -> None:
        self._app = app
        self._names = _LOCAL | {name.lower() for name in names}
        self._open_port = open_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = header_of(scope, b"host")
            if host and not self._allows(host) and not self._is_open(scope):
                raise ApiError(
                    403,
                    "this server has no API keys and only responds to local host names; add the name in `Host` "
                    "to allowed_hosts, or give the server keys",
                    "permission_error",
                    code="host_not_allowed",
                )
        await self._app(scope, receive, send)

    def _allows(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        name = name.lower().removesuffix(".")
        return name in self._names or name.endswith(".localhost") or _is_loopback(name)

    def _is_open(self, scope: Scope) -> bool:
        server = scope.get("server")
        return self._open_port is not None and server is not None and server[1] == self._open_port


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
