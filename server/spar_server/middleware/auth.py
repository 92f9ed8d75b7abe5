"""Who calls. Pure ASGI, so that a stranger's body is never read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_core.backends.context import Caller, OffLoop, bind_calls, in_a_thread
from spar_server.auth.keyring import ANONYMOUS, Keyring
from spar_server.auth.quotas import Quotas
from spar_server.errors import ApiError
from spar_server.http.headers import OPEN_PATHS
from spar_server.settings import ApiKey


class AuthMiddleware:
    """ASGI middleware: finds the key of a request and counts it against the key's rate. None is a ring for everyone.

    The model calls of a request are its key's, which may have the part `share` of an upstream's calls at once; what
    takes long beside them is done by `off_loop`.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring | None,
        quotas: Quotas,
        *,
        share: float = 1.0,
        off_loop: OffLoop = in_a_thread,
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._quotas = quotas
        self._share = share
        self._off_loop = off_loop
        self._callers: dict[str, Caller] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            key = ANONYMOUS if self._keyring is None else _identify(Headers(scope=scope), self._keyring)
            scope.setdefault("state", {})["key"] = key
            if scope["method"] == "POST":
                self._quotas.take_request(key)
                bind_calls(caller=self._caller(key), off_loop=self._off_loop)
        await self._app(scope, receive, send)

    def _caller(self, key: ApiKey) -> Caller:
        caller = self._callers.get(key.name)
        if caller is None:
            caller = self._callers[key.name] = Caller(key.name, key.weight, self._share, key.concurrent_calls)
        return caller


def _identify(headers: Headers, keyring: Keyring) -> ApiKey:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise _unknown("an API key is needed: send it as `Authorization: Bearer KEY`")
    key = keyring.find(secret.strip())
    if key is None:
        raise _unknown("this API key is not known here")
    return key


def _unknown(message: str) -> ApiError:
    return ApiError(401, message, "authentication_error", code="invalid_api_key")
