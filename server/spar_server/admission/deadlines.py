"""How long a request may take."""

from __future__ import annotations

import math
from typing import Final

# Node clients give up on an answer whose headers take 300 s.
NON_STREAM_S: Final = 285.0
# OpenAI's Python client says here for how many seconds it waits for anything to read.
READ_TIMEOUT_HEADER: Final = b"x-stainless-read-timeout"
# The client's clock starts before ours, and the answer has a way to go: it leaves a tenth of the time early.
_MARGIN: Final = 0.1
_LEAST_MARGIN_S: Final = 0.25
_MOST_MARGIN_S: Final = 2.0


def answer_within(hint: str | None) -> float:
    """Seconds after which the client of an answer that is not streamed has given up.

    `hint` is the header's value; what is no number says nothing.
    """
    return min(NON_STREAM_S, first_byte_within(hint))


def first_byte_within(hint: str | None) -> float:
    """Seconds in which something has to reach the client."""
    if not hint:
        return math.inf
    try:
        seconds = float(hint)
    except ValueError:
        return math.inf
    if not seconds > 0:
        return math.inf
    margin = min(_MOST_MARGIN_S, max(_LEAST_MARGIN_S, seconds * _MARGIN))
    return seconds - min(margin, seconds / 2)
