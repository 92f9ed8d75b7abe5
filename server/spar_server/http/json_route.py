"""Routes with a JSON body, and strict parsing of it.

Python's parser also accepts NaN, Infinity, numbers too large for a float, and unpaired surrogates. None of them can be
serialized to valid JSON again, so they are refused here, with their location.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Iterator
from functools import cached_property, partial
from typing import Any, Final, Protocol, TypeVar, get_type_hints

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
from spar_server.settings import ApiKey, Limits

T = TypeVar("T")
# Deeper than any tool's or format's schema, and far from exhausting the interpreter's stack.
MAX_DEPTH: Final = 100
# A body of a thousand fields is at least this long, in bytes.
_MIN_COUNTED_BYTES: Final = 4000
# Maximum length of a location in an error message.
_MAX_LOCATION: Final = 200


class LongWork(Protocol):
    """Runs long computations on bodies off the event loop: `admission/long_work.py`, as `app.state.long_work`."""

    async def read(self, work: Callable[[], T], *, key: ApiKey, size: int) -> T: ...


class JsonRequest(Request):
    """A request with its parsed body in `value`; `size` is the body's length in bytes."""

    value: Any = None
    size: int = 0

    async def json(self) -> Any:
        return self.value

    async def off_loop(self, work: Callable[[], T], *, short: int = SHORT) -> T:
        """Run `work` on this request's body, in a thread if the body is longer than `short` bytes."""
        if self.size <= short:
            return work()
        long_work: LongWork = self.app.state.long_work
        return await long_work.read(work, key=key_of(self), size=self.size)


class JsonRoute(APIRoute):
    """A POST route whose JSON body is validated by the model of its endpoint's parameter `body`.

        @router.post("/v1/judge")
        async def judge(body: JudgeRequest, request: JsonRequest) -> Response: ...

    The endpoint takes nothing else and returns a `Response`.
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
        """Parse the body and call the endpoint.

        Raises:
            ApiError, RequestError, RequestValidationError: the body is not valid JSON or not valid for the endpoint.
        """
        _check_content_type(header_of(request.scope, b"content-type") or "")
        raw = await _read_body(request.receive)
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
        # A shorter body cannot have too many entries.
        if len(raw) > min(limits.max_messages, _MIN_COUNTED_BYTES):
            check_counts(value, self._model.model_fields, limits)
        try:
            return value, self._model.model_validate(value)
        except ValidationError as error:
            # As the framework's own, lest a field with the name of another part of the request is taken for that part.
            errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
            raise RequestValidationError(errors) from error


async def _read_body(receive: Receive) -> bytes:
    """Read the whole body, which usually is a single message.

    Raises:
        ClientGoneError: the client disconnected before it was complete.
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


def _check_content_type(content_type: str) -> None:
    # A web page of another origin can send some other types without a preflight request.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Content-Type: must be application/json", code="unsupported_media_type")


def read_json(raw: bytes) -> Any:
    """Parse a body.

    Raises:
        RequestError: it is not JSON that can be forwarded; `param` is the location of the problem, if it has one.
    """
    special = False
    try:
        text = raw.decode()
        try:
            value = _decode_strict(text)
        except _SpecialError:
            special, value = True, json.loads(text)
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not valid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise RequestError(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    # Only bodies that may contain such a problem are searched for it.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_deep(value)
    if special or b"\\ud" in raw or b"\\uD" in raw:
        _refuse_unwritable(value)
    return value


class _SpecialError(Exception):
    """The body has a number that JSON does not allow."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _SpecialError
    return number


# json.loads would create a decoder for each body.
_decode_strict: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in inside for inner in items]
        if not level:
            return
    raise RequestError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_unwritable(value: Any) -> None:
    # Locations are only rendered for an error: paths of long keys could fill the memory.
    level: list[tuple[_Trail, Any]] = [(None, value)]
    while level:
        for trail, item in level:
            if problem := _problem(item):
                location = _location(trail)
                raise RequestError(f"{location or 'the body'}: {problem}", param=location or None)
        level = [inner for trail, item in level for inner in _children(trail, item)]


def _problem(item: Any) -> str | None:
    if isinstance(item, float) and not math.isfinite(item):
        return "must be a finite number"
    if isinstance(item, str) and not _is_encodable(item):
        return "contains half a character (an unpaired surrogate)"
    if isinstance(item, dict) and not all(map(_is_encodable, item)):
        return "has a key that contains half a character (an unpaired surrogate)"
    return None


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# A location as a linked list: the parent's trail, and the key or index within the parent.
_Trail = tuple[Any, str | int] | None


def _children(trail: _Trail, item: Any) -> Iterator[tuple[_Trail, Any]]:
    named = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for name, inner in named:
        yield (trail, name), inner


def _location(trail: _Trail) -> str:
    names: list[str] = []
    while trail is not None:
        trail, name = trail
        names.append(str(name)[:_MAX_LOCATION])
    text = ".".join(reversed(names)).encode(errors="backslashreplace").decode()
    return text if len(text) <= _MAX_LOCATION else f"{text[:_MAX_LOCATION]}..."
