"""HTTP connections to one server: aiohttp's connection pool and parser, without its session.

A session handles cookies, redirects, proxies, traces and middlewares for each request, and writes the body in a
separate task. A model call needs none of this, and it is half of the CPU cost of an HTTP call. This uses the parts
that a session is made of: the connector's pool of connections, and their parsing protocol.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from spar_core.backends.context import call_trace

# vLLM closes idle connections after 5 s; reusing one later would race with that.
_KEEP_ALIVE_S: Final = 4.0
# The redirects that keep method and body; the others turn a POST into a GET.
_REDIRECTS: Final = frozenset({307, 308})
_MAX_REDIRECTS: Final = 3
# The most 1xx answers before the final one.
_MAX_INTERIM: Final = 8
_UNSENDABLE: Final = re.compile(r"[\0\r\n]")
_JSON: Final = {"Content-Type": "application/json"}

# Errors of a connection. A TimeoutError is an OSError too, so catch it first.
TRANSPORT_ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError)


class Answer(NamedTuple):
    """An answer whose body has not been read yet. `end` it after use."""

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader
    connection: Connection

    @property
    def is_json(self) -> bool:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"

    def end(self) -> None:
        """Release the connection. It is closed if the body was not read to its end, which aborts the generation."""
        if self.content.at_eof():
            self.connection.release()
        else:
            self.connection.close()


@dataclass(frozen=True, slots=True)
class _Target:
    """The destination of requests: the key for a connection, and the common part of their heads."""

    request: aiohttp.ClientRequest
    head: bytes


class Transport:
    """POSTs JSON to paths under `base_url`, with `headers`. Use it in one event loop only."""

    def __init__(self, base_url: str, headers: Mapping[str, str], *, connect_s: float) -> None:
        self._base_url = base_url
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(connect=connect_s)
        self._connector: aiohttp.TCPConnector | None = None
        self._session: aiohttp.ClientSession | None = None
        self._targets: dict[str, _Target] = {}

    async def post(self, path: str, data: bytes, request_id: str | None) -> Answer:
        """Send a request and wait for the head of its answer. The caller must `end` the answer.

        Redirects are followed only within the server's own origin (scheme, host and port), because no one else may see
        the prompt and the key. Any other redirect is returned as the answer.

        Raises:
            TimeoutError: there was no connection in time. The wait for the answer has no limit here.
            TRANSPORT_ERRORS: the server cannot be reached, closed the connection or does not speak HTTP.
        """
        target = self._targets.get(path)
        if target is None:
            target = self._targets[path] = self._target(URL(f"{self._base_url}{path}"))
        answer = await self._exchange(target, data, request_id)
        for _ in range(_MAX_REDIRECTS):
            moved = self._moved(answer, target.request.url)
            if moved is None:
                break
            answer.end()
            # Not cached: a server could invent addresses without end.
            target = self._target(moved)
            answer = await self._exchange(target, data, request_id)
        return answer

    async def _exchange(self, target: _Target, data: bytes, request_id: str | None) -> Answer:
        connection = await self._open().connect(target.request, [], self._timeout)
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None
            assert transport is not None
            protocol.set_response_params(read_until_eof=True, auto_decompress=True)
            head = b"%b%b%bContent-Length: %d\r\n\r\n" % (
                target.head,
                _id_header(request_id),
                call_trace().headers,
                len(data),
            )
            transport.write(head + data)
            message, content = await protocol.read()
            interim = 0
            while message.code < 200 and message.code != 101:
                if (interim := interim + 1) > _MAX_INTERIM:
                    raise aiohttp.ServerDisconnectedError("too many interim answers")
                message, content = await protocol.read()
        except BaseException:
            connection.close()
            raise
        return Answer(message.code, message.headers, content, connection)

    def _moved(self, answer: Answer, requested: URL) -> URL | None:
        """The target of a redirect; None for any other answer, and for a redirect that must not be followed."""
        location = answer.headers.get("Location")
        if answer.status not in _REDIRECTS or location is None:
            return None
        with suppress(ValueError):
            moved = requested.join(URL(location))
            if moved.origin() == requested.origin():
                # Only the path is taken, which preserves a user name and password in the address.
                return URL(self._base_url).join(URL(moved.raw_path_qs, encoded=True))
        return None

    def session(self) -> aiohttp.ClientSession:
        """A session for rare requests."""
        if self._session is None:
            # No cookies: one client's call must not affect the next one's.
            self._session = aiohttp.ClientSession(
                connector=self._open(), headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._connector is not None:
            await self._connector.close()

    def _open(self) -> aiohttp.TCPConnector:
        """The connector, created on first use because it belongs to the running loop."""
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        return self._connector

    def _target(self, url: URL) -> _Target:
        request = aiohttp.ClientRequest(
            "POST", url, headers={**self._headers, **_JSON}, loop=asyncio.get_running_loop()
        )
        request.headers.pop("Content-Length", None)
        lines = [
            f"POST {request.url.raw_path_qs} HTTP/1.1",
            *(f"{key}: {value}" for key, value in request.headers.items()),
        ]
        if any(map(_UNSENDABLE.search, lines)):
            raise ValueError(f"{self._base_url}: a header or the address contains a line break")
        return _Target(request, "".join(f"{line}\r\n" for line in lines).encode())


def _id_header(request_id: str | None) -> bytes:
    if request_id is None:
        return b""
    if _UNSENDABLE.search(request_id):
        raise ValueError("the request id contains a line break")
    return b"X-Request-Id: %b\r\n" % request_id.encode()
