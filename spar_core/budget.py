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
from typing import Final, Literal

from spar_core.backends.base import Backend
from spar_core.backends.choices import complete_many
from spar_core.cost import CostBound
from spar_core.errors import BackendError, SparError
from spar_core.frozen import frozen
from spar_core.types import Cancelled, Completion, Message, ModelRole, Sampling, Usage

_NOTHING: Final = Usage()
# A call with fewer tokens than this cannot produce anything useful.
LEAST_TOKENS = 8


class TokensExhausted(SparError):
    """`max_search_tokens` has no room for another call."""


class CostExhausted(TokensExhausted):
    """`max_cost` has no room for another call."""


@dataclass
class _Left:
    nodes: int
    tokens: int | None
    cost: float | None
    cost_refused: bool = False


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What one call may use; None is no bound."""

    tokens: int | None
    cost: float | None


@frozen
class Call:
    """A request to a model, when it is over: what was sent, when, and what it used.

    `count` is the number of completions that it asked for. Times are in seconds since the search began; `usage` is
    that of the completions that arrived.
    """

    role: ModelRole
    messages: Sequence[Message]
    count: int
    started_s: float
    ended_s: float
    outcome: Literal["finished", "failed", "cancelled"]
    usage: Usage


def _ignore(call: Call) -> None:
    """The default listener."""


class Budget:
    """One search's budget, and the record of its calls.

    `nodes` is the most nodes to expand, `tokens` the most completion tokens of all calls together, `seconds` the time
    from now; None is no bound. A call is one requested completion, whether alone or with others in one request.
    `usage` is what the backends counted. A cancelled call is counted in `calls`, and in `cancelled` with the most
    tokens that it may have generated. The token bound is charged that maximum for it, and for calls that the backend
    does not count, so it holds whatever they generated. `on_call` is told of each call when it is over.

    `cost` bounds what all calls together may cost in the same way. A prompt's tokens are not known before its call, so
    as many as it has bytes are reserved for it.
    """

    def __init__(
        self,
        *,
        nodes: int = 0,
        tokens: int | None = None,
        seconds: float | None = None,
        cost: CostBound | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = _Left(nodes, tokens, None if cost is None else cost.limit)
        self._bound = cost
        self._clock = clock
        self._started = clock()
        self._seconds = seconds
        self.calls: Counter[ModelRole] = Counter()
        self.usage: dict[ModelRole, Usage] = {}
        self.cancelled: dict[ModelRole, Cancelled] = {}
        self.on_call: Callable[[Call], None] = _ignore

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

    @property
    def cost_exhausted(self) -> bool:
        """Whether the bound on the cost has refused a call."""
        return self._left.cost_refused

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
            TokensExhausted: that part is too small to be useful, or that of the cost is.
            BackendError: the call failed.
        """
        reserved = self._reserve(role, messages, sampling, shares)
        self.calls[role] += 1
        started_s = self.elapsed_s
        try:
            completion = await backend.complete(messages, sampling.within(reserved.tokens))
        except asyncio.CancelledError:
            self._record_cancelled(role, 1, reserved.tokens)
            self.on_call(Call(role, messages, 1, started_s, self.elapsed_s, "cancelled", _NOTHING))
            raise
        except BackendError:
            self._release(role, reserved, 1, _NOTHING)
            self.on_call(Call(role, messages, 1, started_s, self.elapsed_s, "failed", _NOTHING))
            raise
        self.on_call(Call(role, messages, 1, started_s, self.elapsed_s, "finished", completion.usage))
        self.usage[role] = self.usage.get(role, _NOTHING) + completion.usage
        self._release(role, reserved, 1, completion.usage)
        return completion

    async def complete_many(
        self, role: ModelRole, backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling]
    ) -> list[Completion | BackendError]:
        """Make several calls for one chat, in one request if the backend supports that (`backends.choices`).

        They share all tokens and all of the cost that is left equally; if that is too little, fewer calls are made.
        Each counts as a call, whether in one request or not.

        Raises:
            TokensExhausted: what is left is too little for one call.
        """
        count = self._affordable(role, messages, samplings)
        reserved = self._reserve(role, messages, samplings[0], max(1, count))
        if self._left.tokens is not None and reserved.tokens is not None:
            self._left.tokens -= reserved.tokens * (count - 1)
        if self._left.cost is not None and reserved.cost is not None:
            self._left.cost -= reserved.cost * (count - 1)
        self.calls[role] += count
        completed: list[Usage] = []
        started_s, asked = self.elapsed_s, count
        outcome: Literal["finished", "failed", "cancelled"] = "failed"

        def finished(completion: Completion) -> None:
            completed.append(completion.usage)
            self.usage[role] = self.usage.get(role, _NOTHING) + completion.usage

        try:
            completions = await complete_many(
                backend, messages, [each.within(reserved.tokens) for each in samplings[:count]], finished
            )
            outcome = "finished" if completed else "failed"
            return completions
        except asyncio.CancelledError:
            outcome = "cancelled"
            self._record_cancelled(role, count - len(completed), reserved.tokens)
            count = len(completed)
            raise
        finally:
            usage = sum(completed, Usage())
            self._release(role, reserved, count, usage)
            self.on_call(Call(role, messages, asked, started_s, self.elapsed_s, outcome, usage))

    def _record_cancelled(self, role: ModelRole, calls: int, tokens: int | None) -> None:
        """Record cancelled calls; their reservation of `tokens` each is used up."""
        if calls:
            at_most = None if tokens is None else calls * tokens
            self.cancelled[role] = self.cancelled.get(role, Cancelled()) + Cancelled(calls, at_most)

    def _release(self, role: ModelRole, reserved: _Reserved, calls: int, used: Usage) -> None:
        """Return what `calls` finished calls left of their reservations; nothing if their tokens were not counted."""
        left = self._left
        if left.tokens is not None and reserved.tokens is not None and used.completion_counted:
            left.tokens += reserved.tokens * calls - used.completion_tokens
        if self._bound is not None and left.cost is not None and reserved.cost is not None:
            cost = self._bound.prices[role].of(used)
            left.cost += 0.0 if cost is None else reserved.cost * calls - cost

    def _affordable(self, role: ModelRole, messages: Sequence[Message], samplings: Sequence[Sampling]) -> int:
        """How many of these calls what is left pays for; each needs the least tokens."""
        count = len(samplings)
        if self._left.tokens is not None:
            count = min(count, self._left.tokens // LEAST_TOKENS)
        if self._bound is not None and self._left.cost is not None:
            least = self._bound.prompt(role, messages, samplings[0])
            least += self._bound.prices[role].at_most(0, LEAST_TOKENS)
            count = int(min(count, self._left.cost / least)) if least else count
        return count

    def _reserve(self, role: ModelRole, messages: Sequence[Message], sampling: Sampling, shares: int) -> _Reserved:
        tokens, cost = self._tokens(sampling.max_tokens, shares), None
        if self._bound is not None and self._left.cost is not None:
            prompt = self._bound.prompt(role, messages, sampling)
            part = self._left.cost / shares
            paid_for = self._bound.completion_tokens(role, part - prompt)
            if part * (1 + 1e-9) < prompt or (paid_for is not None and paid_for < LEAST_TOKENS):
                self._left.cost_refused = True
                raise CostExhausted("max_cost is used up")
            if paid_for is not None:
                tokens = paid_for if tokens is None else min(tokens, paid_for)
            cost = prompt + self._bound.prices[role].at_most(0, tokens or 0)
            self._left.cost -= cost
        if self._left.tokens is not None and tokens is not None:
            self._left.tokens -= tokens
        return _Reserved(tokens, cost)

    def _tokens(self, wanted: int | None, shares: int) -> int | None:
        """The tokens that a call may generate by the token bound."""
        if self._left.tokens is None:
            return wanted
        part = self._left.tokens // shares
        if part < LEAST_TOKENS:
            raise TokensExhausted("max_search_tokens is used up")
        return part if wanted is None else min(wanted, part)
