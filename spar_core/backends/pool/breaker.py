"""A circuit breaker: no calls to an endpoint that fails, until it was seen to live and one call has gone well.

closed     calls pass; `threshold` failures in a row open it
open       no calls; whoever probes the endpoint half-opens it
half_open  one trial call at a time; its success closes, its failure opens for twice as long as before
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`cooldown_s` is the pause before an open breaker's endpoint is probed, and between probes."""

    threshold: int = 5
    cooldown_s: float = 1.0
    longest_cooldown_s: float = 30.0


class Breaker:
    """`on_change` hears of every new state."""

    def __init__(self, policy: BreakerPolicy, on_change: Callable[[BreakerState], None]) -> None:
        self.state: BreakerState = "closed"
        self._policy = policy
        self._on_change = on_change
        self._failures = 0
        self._openings = 0
        self._trying = False

    @property
    def admits(self) -> bool:
        """Whether a call may begin now."""
        return self.state == "closed" or (self.state == "half_open" and not self._trying)

    @property
    def cooldown_s(self) -> float:
        longest = self._policy.longest_cooldown_s
        return float(min(longest, self._policy.cooldown_s * 2 ** min(self._openings - 1, 30)))

    def begin(self) -> bool:
        """A call begins; whether it is the trial."""
        trial = self.state == "half_open"
        self._trying = self._trying or trial
        return trial

    def succeeded(self) -> None:
        """A call went well. Late news of one that began before the trouble is good news all the same."""
        self._failures = self._openings = 0
        self._become("closed")

    def failed(self, *, trial: bool) -> None:
        """A call went wrong. Late news of that is no news once the breaker has opened."""
        if self.state == "closed":
            self._failures += 1
        if trial or self._failures >= self._policy.threshold:
            self._open()

    def ended(self, *, trial: bool) -> None:
        """A call is over, however it went: the next trial may begin."""
        self._trying = self._trying and not trial

    def half_open(self) -> None:
        """The endpoint was seen to live."""
        if self.state == "open":
            self._become("half_open")

    def _open(self) -> None:
        if self.state != "open":
            self._failures = 0
            self._openings += 1
            self._become("open")

    def _become(self, state: BreakerState) -> None:
        if self.state != state:
            self.state = state
            self._on_change(state)
