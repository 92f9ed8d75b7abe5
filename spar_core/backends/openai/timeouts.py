"""Time limits of upstream calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds. `total` bounds every call, `connect` opening a connection.

    `first_token` and `between_tokens` apply to streams; comments and empty chunks are not tokens. `answer` bounds an
    answer that is not streamed, where nothing distinguishes a slow server from a stuck one.
    """

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    answer: float = 240.0
    total: float = 600.0
