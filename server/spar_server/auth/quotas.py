"""Quotas per API key: requests per minute and concurrent searches."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from spar_server.errors import ApiError
from spar_server.settings import ApiKey


class Usage(Protocol):
    """What the keys with limits have used, by their names."""

    def take(self, name: str, limit: int, now: float) -> float:
        """Take one request from the key's bucket, which holds `limit` and refills within a minute.

        Returns the level before; if it is less than 1, nothing was taken. `now` is on `time.monotonic`'s clock.
        """
        ...

    def begin_search(self, name: str, limit: int) -> bool:
        """Count a search; False, without counting it, if the key has `limit` already."""
        ...

    def end_search(self, name: str) -> None: ...


def refilled(level: float, filled_at: float, limit: int, now: float) -> float:
    """The level of a token bucket that refills evenly, up to one minute's requests."""
    return min(float(limit), level + max(0.0, now - filled_at) * limit / 60)


@dataclass(slots=True)
class _Bucket:
    level: float
    filled_at: float


class LocalUsage:
    """The usage in one process."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._searches: Counter[str] = Counter()

    def take(self, name: str, limit: int, now: float) -> float:
        bucket = self._buckets.setdefault(name, _Bucket(float(limit), now))
        level = refilled(bucket.level, bucket.filled_at, limit, now)
        bucket.level, bucket.filled_at = level - 1 if level >= 1 else level, now
        return level

    def begin_search(self, name: str, limit: int) -> bool:
        if self._searches[name] >= limit:
            return False
        self._searches[name] += 1
        return True

    def end_search(self, name: str) -> None:
        self._searches[name] -= 1


class Quotas:
    """Enforces the quotas of every key. A key without a quota is unlimited, and its usage is not counted."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, usage: Usage | None = None) -> None:
        self._clock = clock
        self._usage = usage or LocalUsage()

    def take_request(self, key: ApiKey) -> None:
        """Count a request.

        Raises:
            ApiError: 429; the request can be retried after Retry-After.
        """
        if (limit := key.requests_per_minute) is None:
            return
        level = self._usage.take(key.name, limit, self._clock())
        if level < 1:
            raise over_quota(f"this key is limited to {limit} requests per minute", (1 - level) * 60 / limit)

    @contextmanager
    def search(self, key: ApiKey, expected_s: Callable[[], float]) -> Iterator[None]:
        """Count a request of more than one model call while it waits or runs. `expected_s` estimates its duration.

        Raises:
            ApiError: 429; the key has reached its number of concurrent searches.
        """
        if (limit := key.concurrent_searches) is None:
            yield
            return
        if not self._usage.begin_search(key.name, limit):
            # Searches that started independently end evenly spread over time.
            kind = "searches or other requests of several model calls"
            raise over_quota(f"this key is limited to {limit} concurrent {kind}", expected_s() / limit)
        try:
            yield
        finally:
            self._usage.end_search(key.name)


def over_quota(message: str, retry_after: float) -> ApiError:
    return ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=retry_after)
