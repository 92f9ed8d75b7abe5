"""An upstream's failures in this project's terms."""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from spar_core.characters import whole
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)

# Characters of an upstream's message that are told.
_LONGEST: Final = 2000


def failure(status: int, body: bytes, headers: Mapping[str, str]) -> BackendError:
    """The error that an HTTP answer of status >= 400 stands for."""
    message = f"upstream answered {status}: {_message(body)}"
    if status in (429, 503):
        return BackendOverloaded(message, status=status, retry_after=retry_after(headers.get("Retry-After")))
    if status in (408, 504):
        return BackendTimeout(message, status=status)
    if status >= 500:
        return BackendUnavailable(message, status=status)
    return BackendRejected(message, status=status, param=_param(body))


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from seconds or an HTTP date; None when there is neither."""
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


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object that is no error. What is no UTF-8 in it is replaced.

    Raises:
        BackendProtocol: it is not JSON, no object, or an error under a status that says all is well.
    """
    try:
        data = _read(text)
    except ValueError as error:
        raise BackendProtocol(f"upstream sent invalid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BackendProtocol("upstream sent JSON that is no object")
    if data.get("error"):
        raise BackendProtocol(f"upstream sent an error in its answer: {_told(data['error'])}")
    return data


def _read(text: bytes) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return from_json(readable(text))


def readable(text: bytes) -> bytes:
    """JSON with half a character or half an UTF-8 sequence in it, which some servers send, as one can read it.

    Raises:
        ValueError: it is not JSON.
    """
    return whole(json.dumps(parsed(text), ensure_ascii=False)).encode()


def parsed(text: bytes) -> Any:
    """Slower than pydantic's parser, and takes half characters.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text.decode(errors="replace"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _message(body: bytes) -> str:
    try:
        data = parsed(body)
    except ValueError:
        return body[:200].decode("utf-8", errors="replace") or "(no body)"
    return _told(data.get("error", data) if isinstance(data, dict) else data)


def _param(body: bytes) -> str | None:
    try:
        param = parsed(body)["error"]["param"]
    except (ValueError, KeyError, TypeError):
        return None
    return param if isinstance(param, str) else None


def _told(error: object) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return whole(error["message"][:_LONGEST])
    return json.dumps(error)[:200]
