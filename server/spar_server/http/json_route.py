"""A request's body as JSON and nothing but JSON: what could break a server further on is refused here, by its place.

Python's reader also takes NaN, Infinity, numbers too large for a float and half characters; none of them can be
written again as the JSON that upstreams and clients read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Iterator
from functools import cached_property, partial
from typing import Any, Final, TypeVar, get_type_hints

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from spar_core.backends.context import bind_calls
from spar_core.errors import RequestError
from spar_core.off_loop import SHORT
from spar_server.auth.access import key_of
from spar_server.errors import ApiError, ClientGoneError
from spar_server.http.headers import header_of
from spar_server.http.json_limits import check_counts, check_work
from spar_server.serving.gate import Gate
from spar_server.settings import Limits

T = TypeVar("T")
# More than any schema of a tool or a format has, and far less than what exhausts an interpreter's stack.
MAX_DEPTH: Final = 100
# Bytes that a thousand fields take, or more.
_FEW: Final = 4000
# Characters of a place that an error names.
_LONGEST_PLACE: Final = 200


class JsonRequest(Request):
    """A request whose body, once it has been read, is kept as a value; `size` is its length in bytes."""

    value: Any = None
    size: int = 0

    async def json(self) -> Any:
        return self.value

    async def off_loop(self, work: Callable[[], T], *, short: int = SHORT) -> T:
        """What `work` on this request's body returns or raises, done in a thread if the body is longer than `short`."""
        if self.size <= short:
            return work()
        gate: Gate = self.app.state.gate
        return await gate.long_work.read(work, key=key_of(self), size=self.size)


class JsonRoute(APIRoute):
    """A POST route whose body is read by `read_json` and checked by the model that its endpoint takes as `body`.

    The endpoint is called with that and the request, and answers with a response of its own making.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            return await self.answer(JsonRequest(request.scope, request.receive))

        return handle

    @cached_property
    def _model(self) -> type[BaseModel]:
        model: type[BaseModel] = get_type_hints(self.endpoint)["body"]
        return model

    async def answer(self, request: JsonRequest) -> Response:
        """Have the endpoint answer.

        Raises:
            ApiError, RequestError, RequestValidationError: the body is no JSON, or not what the endpoint takes.
        """
        _refuse_other_types(header_of(request.scope, b"content-type") or "")
        raw = await _body(request.receive)
        request.size = len(raw)
        limits: Limits = request.app.state.settings.limits
        if request.size <= SHORT:
            request.value, body = self._read(raw, limits)
        else:
            bind_calls(length=request.size)
            request.value, body = await request.off_loop(partial(self._read, raw, limits))
        response: Response = await self.endpoint(body, request)
        return response

    def _read(self, raw: bytes, limits: Limits) -> tuple[Any, BaseModel]:
        if len(raw) > SHORT:
            check_work(raw, limits.max_body_values)
        value = read_json(raw)
        # A shorter body cannot hold too many of anything.
        if len(raw) > min(limits.max_messages, _FEW):
            check_counts(value, self._model.model_fields, limits)
        try:
            return value, self._model.model_validate(value)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False)) from error


async def _body(receive: Receive) -> bytes:
    """All of it, which as a rule is one message.

    Raises:
        ClientGoneError: the client went before it was sent.
    """
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


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
    try:
        text = raw.decode()
        try:
            value = _ordinary(text)
        except _SpecialError:
            special, value = True, json.loads(text)
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


class _SpecialError(Exception):
    """There is a number that JSON has not."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _SpecialError
    return number


# loads() would make a decoder for each body.
_ordinary: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in inside for inner in items]
        if not level:
            return
    raise RequestError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_unwritable(value: Any) -> None:
    # A place is written out only where there is something to say of it: paths of long keys would fill the memory.
    level: list[tuple[_Trail, Any]] = [(None, value)]
    while level:
        for trail, item in level:
            if problem := _problem(item):
                place = _place(trail)
                raise RequestError(f"{place or 'the body'}: {problem}", param=place or None)
        level = [inner for trail, item in level for inner in _inside(trail, item)]


def _problem(item: Any) -> str | None:
    if isinstance(item, float) and not math.isfinite(item):
        return "must be a finite number"
    if isinstance(item, str) and not _whole(item):
        return "holds half a character (an unpaired surrogate)"
    if isinstance(item, dict) and not all(map(_whole, item)):
        return "has a key that holds half a character (an unpaired surrogate)"
    return None


def _whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# A value's name within what holds it, after that of what holds that.
_Trail = tuple[Any, str | int] | None


def _inside(trail: _Trail, item: Any) -> Iterator[tuple[_Trail, Any]]:
    named = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for name, inner in named:
        yield (trail, name), inner


def _place(trail: _Trail) -> str:
    names: list[str] = []
    while trail is not None:
        trail, name = trail
        names.append(str(name)[:_LONGEST_PLACE])
    place = ".".join(reversed(names)).encode(errors="backslashreplace").decode()
    return place if len(place) <= _LONGEST_PLACE else f"{place[:_LONGEST_PLACE]}..."
