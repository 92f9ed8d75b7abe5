"""What one search may spend, and what it has spent: nodes, completion tokens, seconds, calls.

Everything is reserved before it is used, so that the bounds hold however many calls run at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

from spar_core.backends.base import Backend
from spar_core.errors import SparError
from spar_core.types import Completion, Message, ModelRole, Sampling, Usage

# A call that may say fewer tokens than this says nothing of use.
LEAST_TOKENS = 8


class TokensExhausted(SparError):
    """`max_search_tokens` has no room for another call."""


@dataclass
class _Left:
    nodes: int
    tokens: int | None


class Budget:
    """One search's account.

    `nodes`: most nodes to expand. `tokens`: most completion tokens of all calls together. `seconds`: from
    now. None is no bound. A cancelled call is counted among the calls; its tokens are not known
    and not charged.
    """

    def __init__(
        self,
        *,
        nodes: int = 0,
        tokens: int | None = None,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = _Left(nodes, tokens)
        self._clock = clock
        self._started = clock()
        self._seconds = seconds
        self.calls: Counter[ModelRole] = Counter()
        self.usage: dict[ModelRole, Usage] = {}

    def sibling(self) -> Budget:
        """An account of its own under the very same limits, for a search that runs beside this one."""
        sibling = copy(self)
        sibling.calls, sibling.usage = Counter(), {}
        return sibling

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    @property
    def seconds_left(self) -> float | None:
        return None if self._seconds is None else max(0.0, self._seconds - self.elapsed_s)

    @property
    def nodes_left(self) -> int:
        return self._left.nodes

    def take_node(self) -> bool:
        """Reserve one node; False when none is left. A node is never given back."""
        if self._left.nodes == 0:
            return False
        self._left.nodes -= 1
        return True

    async def complete(
        self,
        role: ModelRole,
        backend: Backend,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        shares: int = 1,
    ) -> Completion:
        """One call on this account.

        `shares` is how many calls the tokens left must still do for: with a token bound the call may
        use at most that part of them.

        Raises:
            TokensExhausted: the part is too small to be of use.
            BackendError: the call failed.
        """
        reserved = self._reserve(sampling.max_tokens, shares)
        self.calls[role] += 1
        used = 0
        try:
            completion = await backend.complete(messages, replace(sampling, max_tokens=reserved))
            used = completion.usage.completion_tokens
            self.usage[role] = self.usage.get(role, Usage()) + completion.usage
            return completion
        finally:
            if self._left.tokens is not None and reserved is not None:
                self._left.tokens += reserved - used

    def _reserve(self, wanted: int | None, shares: int) -> int | None:
        if self._left.tokens is None:
            return wanted
        part = self._left.tokens // shares
        if part < LEAST_TOKENS:
            raise TokensExhausted("max_search_tokens is used up")
        reserved = part if wanted is None else min(wanted, part)
        self._left.tokens -= reserved
        return reserved
