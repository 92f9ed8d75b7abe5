"""The connections to one server: aiohttp's, with its parser, but past its session.

A session looks into cookies, redirects, proxies, traces and middlewares for each request, and writes a body in a task
of its own. A model call has none of these, and they are half of what an HTTP call costs this process. What is used in
the session's place is what it is made of: the connector's pool of connections, and their protocol, which parses.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

# vLLM closes idle connections after 5 s; reusing one later than that races with its closing.
_KEEP_ALIVE_S: Final = 4.0
# The redirects that keep method and body. The others make a GET of a POST, which no API means.
_REDIRECTS: Final = frozenset({307, 308})
_MOST_REDIRECTS: Final = 3
# Answers of 1xx before the answer itself.
_MOST_INTERIM: Final = 8
_UNSENDABLE: Final = re.compile(r"[\0\r\n]")
_JSON: Final = {"Content-Type": "application/json"}

# What goes wrong between here and a server. A TimeoutError is an OSError too, and is to be caught first.
WIRE_ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader
    held: Connection

    @property
    def is_json(self) -> bool:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"

    def end(self) -> None:
        """Let go of the connection. One whose body was not read to its end is closed: that aborts the work."""
        if self.content.at_eof():
            self.held.release()
        else:
            self.held.close()


@dataclass(frozen=True, slots=True)
class _Target:
    """Where requests go: what asks for a connection, and the head that they have in common."""

    request: aiohttp.ClientRequest
    head: bytes


class Wire:
    """POSTs JSON to the paths under `base_url`, with `headers`. To be used in one event loop."""

    def __init__(self, base_url: str, headers: Mapping[str, str], *, connect_s: float) -> None:
        self._base_url = base_url
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(connect=connect_s)
        self._connector: aiohttp.TCPConnector | None = None
        self._session: aiohttp.ClientSession | None = None
        self._targets: dict[str, _Target] = {}

    async def post(self, path: str, data: bytes, request_id: str | None) -> Answer:
        """Send a request and wait for its answer's head. Whoever gets the answer must end it.

        A redirect is followed only within the server's own origin (scheme, host and port): the prompt and the key are
        for nobody else. Any other is returned as the answer.

        Raises:
            TimeoutError: no connection could be had in time; for the answer nobody here looks at a clock.
            WIRE_ERRORS: the server cannot be reached, broke off or does not speak HTTP.
        """
        target = self._targets.get(path)
        if target is None:
            target = self._targets[path] = self._target(URL(f"{self._base_url}{path}"))
        answer = await self._exchange(target, data, request_id)
        for _ in range(_MOST_REDIRECTS):
            moved = self._moved(answer, target.request.url)
            if moved is None:
                break
            answer.end()
            # Not remembered: a server could make up addresses without end.
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
            transport.write(b"%b%bContent-Length: %d\r\n\r\n%b" % (target.head, _line(request_id), len(data), data))
            message, content = await protocol.read()
            before = 0
            while message.code < 200 and message.code != 101:
                if (before := before + 1) > _MOST_INTERIM:
                    raise aiohttp.ServerDisconnectedError("too many interim answers")
                message, content = await protocol.read()
        except BaseException:
            connection.close()
            raise
        return Answer(message.code, message.headers, content, connection)

    def _moved(self, answer: Answer, asked: URL) -> URL | None:
        """Where a redirect leads; None for any other answer, and for a redirect that is not to be followed."""
        location = answer.headers.get("Location")
        if answer.status not in _REDIRECTS or location is None:
            return None
        with suppress(ValueError):
            moved = asked.join(URL(location))
            if moved.origin() == asked.origin():
                # By its path alone, so that a name and a password in the address are kept.
                return URL(self._base_url).join(URL(moved.raw_path_qs, encoded=True))
        return None

    def session(self) -> aiohttp.ClientSession:
        """For all that is asked for rarely."""
        if self._session is None:
            # No cookies: what a server sets for one client's call is not for the next one's.
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
        """The connector, made on first use because it belongs to the running loop."""
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
            raise ValueError(f"{self._base_url}: a header or the address holds a line end")
        return _Target(request, "".join(f"{line}\r\n" for line in lines).encode())


def _line(request_id: str | None) -> bytes:
    if request_id is None:
        return b""
    if _UNSENDABLE.search(request_id):
        raise ValueError("the request id holds a line end")
    return b"X-Request-Id: %b\r\n" % request_id.encode()
