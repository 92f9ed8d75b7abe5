"""Smaller budgets under load, step by step, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from spar_server.settings import BrownoutSettings

# What each level leaves of a budget.
SHARES: Final = (1.0, 0.5, 0.25, 0.0)


class Brownout:
    """A level that goes up by one for each `step_s` of a load over `above`, and down for each of one under `below`.

    Between the two it rests. It is told of every change of the load; between two changes the load is what it was, so
    that no clock needs to tick, and a server that nobody asks has recovered when it is asked again.
    """

    def __init__(self, settings: BrownoutSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._level = 0
        self._direction = 0
        self._since = clock()

    @property
    def level(self) -> int:
        """From 0, every budget as it was asked for, to 3, none."""
        self._advance()
        return self._level

    def observe(self, load: float) -> None:
        """The load is this from now on."""
        self._advance()
        direction = (load > self._settings.above) - (load < self._settings.below)
        if direction != self._direction:
            self._direction, self._since = direction, self._clock()

    def lowered(self, budget: int) -> int:
        """What is left of a budget now; at least one node until the last level takes all."""
        if not self._settings.enabled or budget == 0:
            return budget
        share = SHARES[self.level]
        return max(1, int(budget * share)) if share else 0

    def _advance(self) -> None:
        steps = int((self._clock() - self._since) / self._settings.step_s)
        self._since += steps * self._settings.step_s
        if self._settings.enabled:
            self._level = min(len(SHARES) - 1, max(0, self._level + steps * self._direction))
