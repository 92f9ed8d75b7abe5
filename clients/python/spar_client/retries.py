"""When a request is sent again, and after how long: the policy of OpenAI's SDKs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 8.0
# A server that asks for more patience than this is not waited for.
_LONGEST_HINT_S: Final = 60.0


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a failed request may succeed if it is sent again; the server can say so by `x-should-retry`."""
    hint = headers.get("x-should-retry")
    if hint in ("true", "false"):
        return hint == "true"
    return status in (408, 409, 429) or status >= 500


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds after which the server wants the request again; None if it does not say."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        value = headers.get("retry-after")
        return None if value is None else float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(headers["retry-after"]) - datetime.now(UTC)).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


def wait_s(attempt: int, hint: float | None) -> float:
    """Seconds before the attempt after `attempt`, which counts from 0: the server's hint, else doubling from 0.5 s."""
    if hint is not None and 0 < hint <= _LONGEST_HINT_S:
        return hint
    return min(_LONGEST_S, _FIRST_S * 2.0**attempt) * random.uniform(0.75, 1.0)
