"""Authentication, before anything of the body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from spar_core.backends.context import Caller, OffLoop, bind_calls, in_a_thread
from spar_server.auth.keyring import ANONYMOUS, Keyring
from spar_server.auth.quotas import Quotas
from spar_server.errors import ApiError
from spar_server.http.headers import OPEN_PATHS, REQUEST_OF
from spar_server.settings import ApiKey


class AuthMiddleware:
    """ASGI middleware: identifies the API key of a request and counts the request against the key's rate.

    Without a `keyring` every request is anonymous. Model calls are attributed to the key, which can use the fraction
    `share` of an upstream's concurrent calls; long computations beside them run in `off_loop`.
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
        self._quotas = quotas
        self._off_loop = off_loop
        self.change(keyring, share)

    def change(self, keyring: Keyring | None, share: float) -> None:
        """Accept these keys from the next request on; running ones keep theirs."""
        self._keyring = keyring
        self._share = share
        self._callers: dict[str, Caller] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            key = scope.get(REQUEST_OF) or self._identify(scope)
            scope.setdefault("state", {})["key"] = key
            if scope["method"] == "POST":
                self._quotas.take_request(key)
                bind_calls(caller=self._caller(key), off_loop=self._off_loop)
        await self._app(scope, receive, send)

    def find(self, name: str) -> ApiKey | None:
        """The key with this name, as it is now."""
        keys = (ANONYMOUS,) if self._keyring is None else self._keyring
        return next((key for key in keys if key.name == name), None)

    def _identify(self, scope: Scope) -> ApiKey:
        return ANONYMOUS if self._keyring is None else _identify(Headers(scope=scope), self._keyring)

    def _caller(self, key: ApiKey) -> Caller:
        caller = self._callers.get(key.name)
        if caller is None:
            caller = self._callers[key.name] = Caller(key.name, key.weight, self._share, key.concurrent_calls)
        return caller


def _identify(headers: Headers, keyring: Keyring) -> ApiKey:
    if (authorization := headers.get("authorization")) is not None:
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
    else:
        # Anthropic's clients send it here.
        secret = headers.get("x-api-key", "").strip()
    if not secret:
        raise _auth_error("an API key is needed: send it as `Authorization: Bearer KEY`")
    key = keyring.find(secret)
    if key is None:
        raise _auth_error("unknown API key")
    return key


def _auth_error(message: str) -> ApiError:
    return ApiError(401, message, "authentication_error", code="invalid_api_key")
