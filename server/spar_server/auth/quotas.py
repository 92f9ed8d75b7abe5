"""What one API key may do at once and in a minute."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from spar_server.errors import ApiError
from spar_server.settings import ApiKey


@dataclass
class _Bucket:
    """Requests that may still be sent, filled evenly up to a minute's worth."""

    level: float
    filled_at: float


class Quotas:
    """Counts per key. The quota of a key that has none is never used up."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._searches: Counter[str] = Counter()

    def take_request(self, key: ApiKey) -> None:
        """Count one request.

        Raises:
            ApiError: 429; it may be sent when Retry-After has passed.
        """
        if (most := key.requests_per_minute) is None:
            return
        now, per_second = self._clock(), most / 60
        bucket = self._buckets.setdefault(key.name, _Bucket(float(most), now))
        bucket.level = min(float(most), bucket.level + (now - bucket.filled_at) * per_second)
        bucket.filled_at = now
        if bucket.level < 1:
            raise over_quota(f"this key may send {most} requests a minute", (1 - bucket.level) / per_second)
        bucket.level -= 1

    @contextmanager
    def search(self, key: ApiKey, expected_s: Callable[[], float]) -> Iterator[None]:
        """One request of more than one model call, waiting or running. `expected_s` tells how long one takes.

        Raises:
            ApiError: 429; the key has as many as it may have at once.
        """
        most = key.concurrent_searches
        if most is not None and self._searches[key.name] >= most:
            # Searches that began at unrelated times end evenly spread.
            what = "searches or other requests of several model calls"
            raise over_quota(f"this key may have {most} {what} at once", expected_s() / most)
        self._searches[key.name] += 1
        try:
            yield
        finally:
            self._searches[key.name] -= 1


def over_quota(message: str, retry_after: float) -> ApiError:
    return ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=retry_after)
