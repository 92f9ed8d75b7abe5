"""What one search may spend, and what it has spent: nodes, completion tokens, seconds, calls.

Everything is reserved before it is used, so that the bounds hold however many calls run at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

from spar_core.backends.base import Backend
from spar_core.backends.choices import complete_many
from spar_core.errors import BackendError, SparError
from spar_core.types import Cancelled, Completion, Message, ModelRole, Sampling, Usage

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
    now. None is no bound. A call is one completion that was requested, whether alone or with others in one request.
    `usage` holds what the backend counted. A cancelled call is among the `calls`, and in `cancelled` with the most
    that it may have generated. The token bound is charged that most for it, and for a call that the backend does not
    count: it holds whatever they generated.
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
        self.cancelled: dict[ModelRole, Cancelled] = {}

    def sibling(self) -> Budget:
        """An account of its own under the very same limits, for a search that runs beside this one."""
        sibling = copy(self)
        sibling.calls, sibling.usage, sibling.cancelled = Counter(), {}, {}
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
        try:
            completion = await backend.complete(messages, sampling.within(reserved))
        except asyncio.CancelledError:
            self._cancelled(role, 1, reserved)
            raise
        except BackendError:
            self._give_back(reserved, Usage())
            raise
        self.usage[role] = self.usage.get(role, Usage()) + completion.usage
        self._give_back(reserved, completion.usage)
        return completion

    async def complete_many(
        self, role: ModelRole, backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling]
    ) -> list[Completion | BackendError]:
        """Calls for one chat, in one request where the backend takes that, as `complete_many` of the backends does.

        They have all tokens that are left, in equal parts; where that is too little for all, fewer are made. Each
        counts as a call, in one request or not.

        Raises:
            TokensExhausted: the tokens are too few for one.
        """
        count = len(samplings) if self._left.tokens is None else min(len(samplings), self._left.tokens // LEAST_TOKENS)
        reserved = self._reserve(samplings[0].max_tokens, max(1, count))
        if self._left.tokens is not None and reserved is not None:
            self._left.tokens -= reserved * (count - 1)
        self.calls[role] += count
        whole: list[Usage] = []

        def finished(completion: Completion) -> None:
            whole.append(completion.usage)
            self.usage[role] = self.usage.get(role, Usage()) + completion.usage

        try:
            return await complete_many(
                backend, messages, [each.within(reserved) for each in samplings[:count]], finished
            )
        except asyncio.CancelledError:
            self._cancelled(role, count - len(whole), reserved)
            count = len(whole)
            raise
        finally:
            self._give_back(None if reserved is None else reserved * count, sum(whole, Usage()))

    def _cancelled(self, role: ModelRole, calls: int, tokens: int | None) -> None:
        """Record calls that were cut short; their reservation of `tokens` each is spent."""
        if calls:
            most = None if tokens is None else calls * tokens
            self.cancelled[role] = self.cancelled.get(role, Cancelled()) + Cancelled(calls, most)

    def _give_back(self, reserved: int | None, used: Usage) -> None:
        """Free what finished calls have left of their reservation: nothing, if their tokens were not counted."""
        if self._left.tokens is not None and reserved is not None and used.completion_counted:
            self._left.tokens += reserved - used.completion_tokens

    def _reserve(self, wanted: int | None, shares: int) -> int | None:
        if self._left.tokens is None:
            return wanted
        part = self._left.tokens // shares
        if part < LEAST_TOKENS:
            raise TokensExhausted("max_search_tokens is used up")
        reserved = part if wanted is None else min(wanted, part)
        self._left.tokens -= reserved
        return reserved
