"""When a client gives up waiting, and so how long a request can take."""

from __future__ import annotations

import math
from typing import Final

from starlette.types import Scope

from spar_server.http.headers import header_of

# Node.js clients give up if a response's headers take 300 s.
NON_STREAM_S: Final = 285.0
# In these headers OpenAI's clients send their time-out in seconds: the one for Python its read time-out, the one for
# Node.js the time that it waits for a response, without its fraction.
_READ_TIMEOUT: Final = b"x-stainless-read-timeout"
_TIMEOUT: Final = b"x-stainless-timeout"
# The client's clock starts before ours and the answer needs time to travel, so answers leave a tenth early.
_MARGIN: Final = 0.1
_MIN_MARGIN_S: Final = 0.25
_MAX_MARGIN_S: Final = 2.0


def timeout_hint(scope: Scope) -> str | None:
    """The time-out that a client sends in a header, as it is written; None if it sends none."""
    hint = header_of(scope, _READ_TIMEOUT)
    return header_of(scope, _TIMEOUT) if hint is None else hint


def answer_within(hint: str | None) -> float:
    """Seconds within which a client that does not stream needs the whole answer.

    `hint` is `timeout_hint`'s; it is ignored if it is not a positive number.
    """
    return min(NON_STREAM_S, first_byte_within(hint))


def first_byte_within(hint: str | None) -> float:
    """Seconds within which a first byte has to reach the client."""
    if not hint:
        return math.inf
    try:
        seconds = float(hint)
    except ValueError:
        return math.inf
    if not seconds > 0:
        return math.inf
    margin = min(_MAX_MARGIN_S, max(_MIN_MARGIN_S, seconds * _MARGIN))
    return seconds - min(margin, seconds / 2)
