"""A circuit breaker: a failing endpoint gets no calls until a probe finds it alive and a trial call succeeds.

closed     calls pass; `threshold` failures in a row open the breaker
open       no calls; a successful probe half-opens it
half_open  one trial call, and twice as many at once after every `trial_s` without a failure, because an answer may take
           minutes; the first success closes it, the first failure opens it for twice as long as before
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`cooldown_s` is the wait before the first probe of an open breaker's endpoint, and between probes."""

    threshold: int = 5
    cooldown_s: float = 1.0
    longest_cooldown_s: float = 30.0
    trial_s: float = 2.0


class Breaker:
    """The breaker of one endpoint. `on_change` is called with every new state.

    A call belongs to the epoch in which it started; opening the breaker starts a new epoch.
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
        self._trials_since = 0.0

    @property
    def admits(self) -> bool:
        """Whether a call may start now."""
        return self.state == "closed" or (self.state == "half_open" and self._trials < self._max_trials())

    @property
    def trying(self) -> bool:
        """Whether trial calls are running."""
        return self.state == "half_open" and self._trials > 0

    @property
    def cooldown_s(self) -> float:
        longest = self.policy.longest_cooldown_s
        return float(min(longest, self.policy.cooldown_s * 2 ** min(self._openings - 1, 30)))

    def begin(self) -> int:
        """Start a call and return its epoch."""
        if self.state == "half_open":
            if not self._trials:
                self._trials_since = self._clock()
            self._trials += 1
        return self.epoch

    def record_success(self) -> None:
        """A call succeeded. This closes the breaker even if the call started before it opened."""
        self._failures = self._openings = 0
        self._become("closed")

    def record_failure(self, epoch: int) -> None:
        """A call failed. Ignored if the breaker has opened since the call started."""
        if epoch != self.epoch or self.state == "open":
            return
        self._failures += 1
        if self.state == "half_open" or self._failures >= self.policy.threshold:
            self._open()

    def end(self, epoch: int) -> None:
        """A call ended, in whatever way; if it was a trial, the next one may start."""
        if self.state == "half_open" and epoch == self.epoch:
            self._trials -= 1

    def half_open(self) -> None:
        """The endpoint was found alive."""
        if self.state == "open":
            self._trials = 0
            self._become("half_open")

    def _max_trials(self) -> int:
        if not self._trials:
            return 1
        return 1 << min(30, int((self._clock() - self._trials_since) / self.policy.trial_s))

    def _open(self) -> None:
        self._failures = 0
        self._openings += 1
        self.epoch += 1
        self._become("open")

    def _become(self, state: BreakerState) -> None:
        if self.state != state:
            self.state = state
            self._on_change(state)
