"""A request's body as JSON and nothing but JSON: what could break a server further on is refused here, by its place.

Python's reader also takes NaN, Infinity, numbers too large for a float and half characters; none of them can be
written again as the JSON that upstreams and clients read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from spar_core.errors import RequestError
from spar_server.errors import ApiError

# More than any schema of a tool or a format has, and far less than what exhausts an interpreter's stack.
MAX_DEPTH: Final = 100


class JsonRoute(APIRoute):
    """A route whose body is read by `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            read = _Read(request.scope, request.receive)
            if request.method == "POST":
                _refuse_other_types(request.headers.get("content-type", ""))
                read.value = read_json(await read.body())
            return await handler(read)

        return handle


class _Read(Request):
    """A request whose body has been read."""

    value: Any = None

    async def json(self) -> Any:
        return self.value


def _refuse_other_types(content_type: str) -> None:
    # A web page of another origin may send any other type without asking first.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Content-Type: must be application/json", code="unsupported_media_type")


def read_json(raw: bytes) -> Any:
    """The value of a body.

    Raises:
        RequestError: it is no JSON that can be passed on; `param` is the place, where it has one.
    """
    special = False

    def told(text: str) -> float:
        nonlocal special
        number = float(text)
        special = special or not math.isfinite(number)
        return number

    try:
        value = json.loads(raw.decode(), parse_float=told, parse_constant=told)
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not valid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise RequestError(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    # Looking at every value takes time that few bodies need.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_deep(value)
    if special or b"\\ud" in raw or b"\\uD" in raw:
        _refuse_unwritable(value)
    return value


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in inside for inner in items]
        if not level:
            return
    raise RequestError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_unwritable(value: Any) -> None:
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        for place, item in level:
            if problem := _problem(item):
                shown = place.encode(errors="backslashreplace").decode()
                raise RequestError(f"{shown or 'the body'}: {problem}", param=shown or None)
        level = [inner for place, item in level for inner in _inside(place, item)]


def _problem(item: Any) -> str | None:
    if isinstance(item, float) and not math.isfinite(item):
        return "must be a finite number"
    if isinstance(item, str) and not _whole(item):
        return "holds half a character (an unpaired surrogate)"
    if isinstance(item, dict) and not all(map(_whole, item)):
        return "has a key that holds half a character (an unpaired surrogate)"
    return None


def _whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _inside(place: str, item: Any) -> Iterator[tuple[str, Any]]:
    named = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for name, inner in named:
        yield f"{place}.{name}" if place else str(name), inner
