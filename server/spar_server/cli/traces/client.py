"""Requests of `spar traces` to a server."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

from spar_core.errors import BackendError, BackendUnavailable, ConfigError
from spar_server.cli.traces.text import printable

# A replayed search may take as long as any.
_TIMEOUT_S: Final = 600.0
_PAGE: Final = 100
_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_moment(option: str, text: str) -> str:
    """A time for the API: an age such as `7d` as seconds since 1970, anything else as it is.

    Raises:
        ConfigError: it starts with a digit and is neither; names the option.
    """
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return str(time.time() - int(match[1]) * _UNITS_S[match[2]])
    if re.fullmatch(r"\d+[a-z]+", text):
        raise ConfigError(f"{option} {text}: write an age as 30m, 12h, 7d or 2w, or a time as 2026-01-31T12:00")
    return text


class TraceClient:
    """The trace endpoints of a server.

    Every method raises ConfigError for a wrong address, and BackendError if the server refuses or does not answer.
    """

    def __init__(self, url: str, api_key: str | None) -> None:
        # Other clients take the address with /v1.
        self._base = url.rstrip("/").removesuffix("/v1")
        if not re.match(r"https?://[^/]", self._base):
            raise ConfigError(f"--url {url}: must be an address such as http://127.0.0.1:8000")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def list(self, filters: Mapping[str, Any], *, limit: int) -> Iterator[dict[str, Any]]:
        """Summaries of traces, newest first; a filter that is None does not apply."""
        query = {name: value for name, value in filters.items() if value is not None}
        while limit > 0:
            page = self._send("GET", f"/v1/traces?{urllib.parse.urlencode(query | {'limit': min(limit, _PAGE)})}")
            yield from page["data"]
            limit -= len(page["data"])
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def get(self, id: str) -> dict[str, Any]:
        """A whole trace."""
        trace: dict[str, Any] = self._send("GET", f"/v1/traces/{urllib.parse.quote(id, safe='')}")
        return trace

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._send("POST", path, json.dumps(body).encode())
        return answer

    def _send(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        request = urllib.request.Request(self._base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise BackendError(_message(error.read(10_000)), status=error.code) from error
        except (OSError, ValueError) as error:
            raise BackendUnavailable(f"no answer from {self._base} ({error}); is it a SPaR Server?") from error


def _message(body: bytes) -> str:
    try:
        return printable(str(json.loads(body)["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return printable(body[:200].decode(errors="replace"))
