"""The budget of one search: the nodes, completion tokens and seconds that it may use, and what it has used.

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

# A call with fewer tokens than this cannot produce anything useful.
LEAST_TOKENS = 8


class TokensExhausted(SparError):
    """`max_search_tokens` has no room for another call."""


@dataclass
class _Left:
    nodes: int
    tokens: int | None


class Budget:
    """One search's budget, and the record of its calls.

    `nodes` is the most nodes to expand, `tokens` the most completion tokens of all calls together, `seconds` the time
    from now; None is no bound. A call is one requested completion, whether alone or with others in one request.
    `usage` is what the backends counted. A cancelled call is counted in `calls`, and in `cancelled` with the most
    tokens that it may have generated. The token bound is charged that maximum for it, and for calls that the backend
    does not count, so it holds whatever they generated.
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
        """A budget with its own record that shares this one's limits, for a search that runs beside this one."""
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
        """Reserve one node; False if none is left. Nodes are never returned."""
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
        """Make one call on this budget.

        With a token bound the call may use at most the n-th part of the tokens left, where n is `shares`: the number
        of calls that they must still suffice for.

        Raises:
            TokensExhausted: that part is too small to be useful.
            BackendError: the call failed.
        """
        reserved = self._reserve(sampling.max_tokens, shares)
        self.calls[role] += 1
        try:
            completion = await backend.complete(messages, sampling.within(reserved))
        except asyncio.CancelledError:
            self._record_cancelled(role, 1, reserved)
            raise
        except BackendError:
            self._release(reserved, Usage())
            raise
        self.usage[role] = self.usage.get(role, Usage()) + completion.usage
        self._release(reserved, completion.usage)
        return completion

    async def complete_many(
        self, role: ModelRole, backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling]
    ) -> list[Completion | BackendError]:
        """Make several calls for one chat, in one request if the backend supports that (`backends.choices`).

        They share all tokens that are left equally; if those are too few, fewer calls are made. Each counts as a call,
        whether in one request or not.

        Raises:
            TokensExhausted: the tokens are too few for one call.
        """
        count = len(samplings) if self._left.tokens is None else min(len(samplings), self._left.tokens // LEAST_TOKENS)
        reserved = self._reserve(samplings[0].max_tokens, max(1, count))
        if self._left.tokens is not None and reserved is not None:
            self._left.tokens -= reserved * (count - 1)
        self.calls[role] += count
        completed: list[Usage] = []

        def finished(completion: Completion) -> None:
            completed.append(completion.usage)
            self.usage[role] = self.usage.get(role, Usage()) + completion.usage

        try:
            return await complete_many(
                backend, messages, [each.within(reserved) for each in samplings[:count]], finished
            )
        except asyncio.CancelledError:
            self._record_cancelled(role, count - len(completed), reserved)
            count = len(completed)
            raise
        finally:
            self._release(None if reserved is None else reserved * count, sum(completed, Usage()))

    def _record_cancelled(self, role: ModelRole, calls: int, tokens: int | None) -> None:
        """Record cancelled calls; their reservation of `tokens` each is used up."""
        if calls:
            at_most = None if tokens is None else calls * tokens
            self.cancelled[role] = self.cancelled.get(role, Cancelled()) + Cancelled(calls, at_most)

    def _release(self, reserved: int | None, used: Usage) -> None:
        """Return what finished calls left of their reservation; nothing if their tokens were not counted."""
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
