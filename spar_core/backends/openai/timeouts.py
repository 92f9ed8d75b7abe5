"""How long an upstream may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `total` bounds every call, `connect` the making of a connection.

    `first_token` and `between_tokens` are for streams: comments and empty chunks are no tokens. An answer that is not
    streamed comes in one piece, with nothing to tell a slow server from a stuck one: `answer` bounds it as a whole.
    """

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    answer: float = 240.0
    total: float = 600.0
