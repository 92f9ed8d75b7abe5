"""When a failed call is tried again: backoff with full jitter, and a budget that keeps retries from becoming the load.

Both as Amazon's Builders' Library describes them ("Timeouts, retries, and backoff with jitter").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `retries` a call, and over all calls `ratio` of them plus `burst`.

    The n-th waits a random time up to `base_s` * 2^n, at most `cap_s`. An upstream that asks for a pause of more than
    `longest_pause_s` is not waited for: its error, with the pause, is the client's to know.
    """

    retries: int = 2
    base_s: float = 0.1
    cap_s: float = 5.0
    longest_pause_s: float = 10.0
    ratio: float = 0.2
    burst: float = 10.0

    def backoff_s(self, number: int, chance: float) -> float:
        """The wait before the `number`-th retry, from 0, by a `chance` in [0, 1)."""
        return chance * min(self.cap_s, self.base_s * 2.0**number)


class RetryBudget:
    """A token bucket that calls fill and retries empty."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.burst

    def called(self) -> None:
        self._tokens = min(self._policy.burst, self._tokens + self._policy.ratio)

    def spend(self) -> bool:
        """Take a retry; False when there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
