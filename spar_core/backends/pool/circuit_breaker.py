"""A circuit breaker: no calls to an endpoint that fails, until it was seen to live and a call has gone well.

closed     calls pass; `threshold` failures in a row open it
open       no calls; whoever probes the endpoint half-opens it
half_open  one trial call, and twice as many at once after every `trial_s` in which none has failed, for an answer may
           take minutes; the first success closes, the first failure opens for twice as long as before
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
    trial_s: float = 2.0


class Breaker:
    """`on_change` hears of every new state.

    A call belongs to the epoch in which it began; every opening begins another.
    """

    def __init__(
        self, policy: BreakerPolicy, on_change: Callable[[BreakerState], None], *, clock: Callable[[], float]
    ) -> None:
        self.state: BreakerState = "closed"
        self.policy = policy
        self.epoch = 0
        self._on_change = on_change
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._trials = 0
        self._tried_at = 0.0

    @property
    def admits(self) -> bool:
        """Whether a call may begin now."""
        return self.state == "closed" or (self.state == "half_open" and self._trials < self._most_trials())

    @property
    def trying(self) -> bool:
        """Whether trials are under way."""
        return self.state == "half_open" and self._trials > 0

    @property
    def cooldown_s(self) -> float:
        longest = self.policy.longest_cooldown_s
        return float(min(longest, self.policy.cooldown_s * 2 ** min(self._openings - 1, 30)))

    def begin(self) -> int:
        """A call begins; its epoch."""
        if self.state == "half_open":
            if not self._trials:
                self._tried_at = self._clock()
            self._trials += 1
        return self.epoch

    def succeeded(self) -> None:
        """A call went well. Late news of one that began before the trouble is good news all the same."""
        self._failures = self._openings = 0
        self._become("closed")

    def failed(self, epoch: int) -> None:
        """A call went wrong. Late news of that is no news once the breaker has opened."""
        if epoch != self.epoch or self.state == "open":
            return
        self._failures += 1
        if self.state == "half_open" or self._failures >= self.policy.threshold:
            self._open()

    def ended(self, epoch: int) -> None:
        """A call is over, however it went: if it was a trial, the next may begin."""
        if self.state == "half_open" and epoch == self.epoch:
            self._trials -= 1

    def half_open(self) -> None:
        """The endpoint was seen to live."""
        if self.state == "open":
            self._trials = 0
            self._become("half_open")

    def _most_trials(self) -> int:
        if not self._trials:
            return 1
        return 1 << min(30, int((self._clock() - self._tried_at) / self.policy.trial_s))

    def _open(self) -> None:
        self._failures = 0
        self._openings += 1
        self.epoch += 1
        self._become("open")

    def _become(self, state: BreakerState) -> None:
        if self.state != state:
            self.state = state
            self._on_change(state)
