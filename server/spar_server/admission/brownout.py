"""Brown-out: lower refinement budgets step by step under load, and restore them afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from spar_server.settings import BrownoutSettings

# The fraction of a budget that each level leaves.
SHARES: Final = (1.0, 0.5, 0.25, 0.0)


class Brownout:
    """A level that rises by one per `step_s` of a load above `above`, and falls by one per `step_s` below `below`.

    In between it stays. `observe` must be called with every change of the load. The load is constant between two
    calls, so no timer is needed, and an idle server has recovered by its next request.
    """

    def __init__(self, settings: BrownoutSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._level = 0
        self._direction = 0
        self._since = clock()

    @property
    def level(self) -> int:
        """From 0, full budgets, to 3, no budget."""
        self._advance()
        return self._level

    def observe(self, load: float) -> None:
        """Record the new load."""
        self._advance()
        direction = (load > self._settings.above) - (load < self._settings.below)
        if direction != self._direction:
            self._direction, self._since = direction, self._clock()

    def lowered(self, budget: int) -> int:
        """The budget at the current level: at least one node, except at the last level."""
        if not self._settings.enabled or budget == 0:
            return budget
        share = SHARES[self.level]
        return max(1, int(budget * share)) if share else 0

    def _advance(self) -> None:
        steps = int((self._clock() - self._since) / self._settings.step_s)
        self._since += steps * self._settings.step_s
        if self._settings.enabled:
            self._level = min(len(SHARES) - 1, max(0, self._level + steps * self._direction))
