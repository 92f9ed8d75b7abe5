"""Quotas per API key: requests per minute and concurrent searches."""

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
    """A token bucket that refills evenly, up to one minute's requests."""

    level: float
    filled_at: float


class Quotas:
    """Tracks the usage of every key. A key without a quota is unlimited."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._searches: Counter[str] = Counter()

    def take_request(self, key: ApiKey) -> None:
        """Count a request.

        Raises:
            ApiError: 429; the request can be retried after Retry-After.
        """
        if (limit := key.requests_per_minute) is None:
            return
        now, per_second = self._clock(), limit / 60
        bucket = self._buckets.setdefault(key.name, _Bucket(float(limit), now))
        bucket.level = min(float(limit), bucket.level + (now - bucket.filled_at) * per_second)
        bucket.filled_at = now
        if bucket.level < 1:
            raise over_quota(f"this key is limited to {limit} requests per minute", (1 - bucket.level) / per_second)
        bucket.level -= 1

    @contextmanager
    def search(self, key: ApiKey, expected_s: Callable[[], float]) -> Iterator[None]:
        """Count a request of more than one model call while it waits or runs. `expected_s` estimates its duration.

        Raises:
            ApiError: 429; the key has reached its number of concurrent searches.
        """
        limit = key.concurrent_searches
        if limit is not None and self._searches[key.name] >= limit:
            # Searches that started independently end evenly spread over time.
            kind = "searches or other requests of several model calls"
            raise over_quota(f"this key is limited to {limit} concurrent {kind}", expected_s() / limit)
        self._searches[key.name] += 1
        try:
            yield
        finally:
            self._searches[key.name] -= 1


def over_quota(message: str, retry_after: float) -> ApiError:
    return ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=retry_after)
