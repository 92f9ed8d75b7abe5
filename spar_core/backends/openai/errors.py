"""Translate an upstream's errors into this project's, and parse its JSON.

An upstream's error text may contain its keys, its addresses and other clients' text, so none of it reaches a client.
Only OpenAI's error codes, names of the request's own fields and the context length are taken from it.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic_core import from_json

from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)
from spar_core.unicode import replace_surrogates

# The most characters that are read of an upstream's message.
_LONGEST: Final = 2000
# Wordings of OpenAI, vLLM, SGLang, llama.cpp and TGI for a prompt that does not fit.
_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|size|window)|maximum context|prompt is too long|input is too long|max_new_tokens. must be",
    re.IGNORECASE,
)
_CONTEXT: Final = re.compile(r"context (?:length|size|window)\D{0,20}?(\d{1,9})\b", re.IGNORECASE)
# OpenAI's codes that a client can act on, and their wording here; {} is the field.
_REASONS: Final[Mapping[str, str]] = {
    "content_policy_violation": "its content filter refused the request",
    "content_filter": "its content filter refused the request",
    "unsupported_parameter": "it does not support {}",
    "unknown_parameter": "it does not know {}",
    "unsupported_value": "it does not support this value of {}",
    "invalid_value": "it does not take this value of {}",
    "invalid_type": "it does not take this type of {}",
    "missing_required_parameter": "it needs a field that the request lacks",
    "invalid_image": "it could not read an image of the request",
    "invalid_image_url": "it could not load an image of the request",
    "invalid_image_format": "it does not take an image of this format",
    "image_too_large": "an image of the request is too large",
}
# Fields of nearly every request: as words in a message they are no hint.
_COMMON: Final = frozenset({"model", "messages", "prompt", "input", "user", "stream", "stop", "n"})
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*")
_FIELD_PATH: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.\d{1,6}|\[\d{1,6}\])*")


def backend_error(status: int, body: bytes, headers: Mapping[str, str], fields: Collection[str] = ()) -> BackendError:
    """The error for an HTTP answer with status >= 300; `fields` are the request's own field names."""
    error = _error(body)
    detail = _message(error)
    if status in (429, 503):
        reason = "it is over its rate limit" if status == 429 else "it is overloaded or starting"
        pause = retry_after(headers.get("Retry-After"))
        return BackendOverloaded(_sentence(status, reason), status=status, retry_after=pause, detail=detail)
    if status in (408, 504):
        return BackendTimeout(_sentence(status, "it ran out of time"), status=status, detail=detail)
    if status >= 500:
        return BackendUnavailable(_sentence(status, "it failed"), status=status, detail=detail)
    if status in (400, 413, 422):
        return _rejected(status, error, detail, fields)
    return BackendRejected(_sentence(status, _for_operators(status)), status=status, detail=detail)


def _for_operators(status: int) -> str:
    if status < 400:
        return "it redirects to another address"
    if status in (401, 403):
        return "it refuses the key"
    return "it has no such model or route" if status in (404, 405) else "it refuses the request"


def _rejected(status: int, error: object, detail: str, fields: Collection[str]) -> BackendRejected:
    values = error if isinstance(error, dict) else {}
    code, param = values.get("code"), _param(values.get("param"), detail, fields)
    if code == "context_length_exceeded" or _TOO_LONG.search(detail):
        code, reason = "context_length_exceeded", _too_long(detail)
    elif isinstance(code, str) and code in _REASONS:
        reason = _REASONS[code].format(param or "a field of the request")
    else:
        code, reason = None, f"it refuses the request for its {param}" if param else "it refuses the request"
    return BackendRejected(_sentence(status, reason), status=status, param=param, code=code, detail=detail)


def _sentence(status: int, reason: str) -> str:
    return f"upstream answered {status}: {reason}"


def _too_long(detail: str) -> str:
    # Client libraries look for the first five words.
    found = _CONTEXT.search(detail)
    over = f"is {found[1]} tokens, and the request needs more" if found else "is exceeded"
    return f"this model's maximum context length {over}; shorten the messages or lower max_tokens"


def _param(named: object, detail: str, fields: Collection[str]) -> str | None:
    """The wrong field of the request: the one that the upstream names, or the first that its message mentions."""
    if isinstance(named, str) and (path := _FIELD_PATH.match(named)):
        root = _FIELD.match(named)
        return path[0] if root and root[0] in fields else None
    return next((word for word in _FIELD.findall(detail) if word in fields and word not in _COMMON), None)


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a `Retry-After` of seconds or an HTTP date; None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def read_object(text: bytes | bytearray, max_values: int) -> dict[str, Any]:
    """Parse a JSON object with at most `max_values` brackets, braces and commas; invalid UTF-8 is replaced.

    Raises:
        BackendProtocol: it is not JSON, not an object, larger than that, or an error in spite of its HTTP status.
    """
    if len(text) > max_values and sum(map(text.count, (b"[", b"{", b","))) > max_values:
        raise BackendProtocol("the upstream's answer has more values than the request allows")
    try:
        data = from_json(text)
    except ValueError:
        data = _read_repaired(text)
    if not isinstance(data, dict):
        raise BackendProtocol("the upstream sent JSON that is not an object")
    if data.get("error"):
        raise BackendProtocol("the upstream sent an error instead of an answer", detail=_message(data["error"]))
    return data


def _read_repaired(text: bytes | bytearray) -> Any:
    try:
        return from_json(repair_json(text))
    except ValueError as error:
        raise BackendProtocol("upstream sent invalid JSON", detail=str(error)) from error


def repair_json(text: bytes | bytearray) -> bytes:
    """Repair JSON with lone surrogates or incomplete UTF-8 sequences, which some servers send.

    Raises:
        ValueError: it is not JSON.
    """
    return replace_surrogates(json.dumps(parse_lenient(text), ensure_ascii=False)).encode()


def parse_lenient(text: bytes | bytearray) -> Any:
    """Parse JSON that may contain lone surrogates; slower than pydantic's parser.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text.decode(errors="replace"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _error(body: bytes) -> object:
    """The error object of a body, or its text."""
    try:
        data = parse_lenient(body)
    except ValueError:
        return body[:_LONGEST].decode(errors="replace")
    return data.get("error", data) if isinstance(data, dict) else data


def _message(error: object) -> str:
    """The text of an error."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return replace_surrogates(error["message"][:_LONGEST])
    return replace_surrogates(error[:_LONGEST]) if isinstance(error, str) else json.dumps(error)[:_LONGEST]
