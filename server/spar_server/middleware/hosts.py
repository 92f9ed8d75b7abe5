"""Which names a server that asks for no key answers to.

A web page can have its own name point to 127.0.0.1 (DNS rebinding), and its scripts then read what a server on this
machine answers. Their requests carry the page's name in `Host`.
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
    """ASGI middleware: a request for another name than this machine's own or one of `names` is a 403.

    Connections to `open_port` are not looked at. What names no host comes from no browser and is let through.
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
                    "this server asks for no key and answers only to this machine's own names; add the name in `Host` "
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
