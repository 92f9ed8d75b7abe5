"""When to retry a failed call: backoff with full jitter, and a budget that keeps retries from overloading upstreams.

Both follow Amazon's Builders' Library ("Timeouts, retries, and backoff with jitter").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `retries` per call, and over all calls at most `ratio` of their number plus `burst`.

    The n-th retry waits a random time up to `base_s` * 2^n, at most `cap_s`. If an upstream requests a pause of more
    than `longest_pause_s`, the client gets the error with that pause instead.
    """

    retries: int = 2
    base_s: float = 0.1
    cap_s: float = 5.0
    longest_pause_s: float = 10.0
    ratio: float = 0.2
    burst: float = 10.0

    def backoff_s(self, number: int, chance: float) -> float:
        """The wait before the `number`-th retry, counted from 0, for a random `chance` in [0, 1)."""
        return chance * min(self.cap_s, self.base_s * 2.0**number)


class RetryBudget:
    """A token bucket that calls fill and retries empty."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.burst

    def called(self) -> None:
        self._tokens = min(self._policy.burst, self._tokens + self._policy.ratio)

    def spend(self) -> bool:
        """Take one retry; False if none is left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
