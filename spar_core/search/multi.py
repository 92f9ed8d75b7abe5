"""Several answers to one conversation: independent drafts, searched side by side on one budget."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TypeVar

from spar_core.backends.context import bind_trace
from spar_core.budget import Budget, CostExhausted, TokensExhausted
from spar_core.errors import BackendError, DeadlineReached
from spar_core.frozen import frozen
from spar_core.search.ranking import rank
from spar_core.search.result import CUT_SHORT, SearchResult, StopReason
from spar_core.search.tree import Node
from spar_core.seeds import derive_seed
from spar_core.types import Cancelled, Completion, ModelRole, Sampling, Usage

S = TypeVar("S", Usage, Cancelled)


@frozen
class Answers:
    """The best answers of several searches.

    `nodes` are the answers, best first; `results` the searches that they come from, one for each draft. `calls`,
    `usage` and `cancelled` sum over all searches, by model role. `stop_reasons` has one reason for each requested
    draft, in order, including the `failed` ones.
    """

    nodes: tuple[Node, ...]
    results: tuple[SearchResult, ...]
    calls: Mapping[ModelRole, int]
    usage: Mapping[ModelRole, Usage]
    stop_reasons: tuple[StopReason, ...]
    failed: int = 0
    cancelled: Mapping[ModelRole, Cancelled] = field(default_factory=dict)

    @property
    def completions(self) -> list[Completion]:
        return [node.completion for node in self.nodes if node.completion is not None]

    @property
    def best(self) -> SearchResult:
        """The search that the first answer comes from."""
        if len(self.results) == 1:
            return self.results[0]
        return next(result for result in self.results if any(node is self.nodes[0] for node in result.tree))

    @property
    def stop_reason(self) -> StopReason:
        """The first answer's, unless another search was cut short: that is never hidden."""
        for reason in CUT_SHORT:
            if reason in self.stop_reasons:
                return reason
        return self.best.stop_reason

    @property
    def degraded(self) -> bool:
        return self.failed > 0 or any(result.degraded for result in self.results)

    @property
    def expanded(self) -> int:
        """The number of nodes that all searches expanded."""
        return sum([result.nodes for result in self.results])

    @property
    def draft_value(self) -> float | None:
        """The best draft's value."""
        return max([r.draft_value for r in self.results if r.draft_value is not None], default=None)

    @property
    def duration_s(self) -> float:
        return max([result.duration_s for result in self.results])


Outcome = SearchResult | BackendError | TokensExhausted


def merge_outcomes(outcomes: Sequence[Outcome], budgets: Sequence[Budget]) -> Answers:
    """The answers of searches that ran side by side, and what each spent; as many as there are searches.

    Raises:
        BackendError: no search has a draft.
    """
    results = [outcome for outcome in outcomes if isinstance(outcome, SearchResult)]
    if not results:
        # One draft's share of the tokens is never too small for it alone.
        raise next(outcome for outcome in outcomes if isinstance(outcome, BackendError))
    return Answers(
        nodes=tuple(rank([result.tree for result in results])[: len(outcomes)]),
        results=tuple(results),
        calls=dict(sum((budget.calls for budget in budgets), Counter())),
        usage=_sum((budget.usage for budget in budgets), Usage()),
        stop_reasons=tuple(_reason(outcome) for outcome in outcomes),
        failed=len(outcomes) - len(results),
        cancelled=_sum((budget.cancelled for budget in budgets), Cancelled()),
    )


def _sum(parts: Iterable[Mapping[ModelRole, S]], zero: S) -> dict[ModelRole, S]:
    total: dict[ModelRole, S] = {}
    for part in parts:
        for role, amount in part.items():
            total[role] = total.get(role, zero) + amount
    return total


def _reason(outcome: Outcome) -> StopReason:
    match outcome:
        case SearchResult():
            return outcome.stop_reason
        case CostExhausted():
            return "cost"
        case TokensExhausted():
            return "tokens"
        case DeadlineReached():
            return "deadline"
        case _:
            return "upstream"


async def run_side_by_side(
    searches: Sequence[Coroutine[None, None, SearchResult]],
) -> list[Outcome]:
    """Run all searches at once. Instead of a result: the error if there is no draft, or nothing left for one."""

    async def run(search: Coroutine[None, None, SearchResult], choice: int = 0) -> Outcome:
        if choice:
            bind_trace(choice=choice)
        try:
            return await search
        except (BackendError, TokensExhausted) as error:
            return error

    if len(searches) == 1:
        return [await run(searches[0])]
    async with asyncio.TaskGroup() as group:
        # The first to reserve tokens takes the first share: tasks start in this order.
        tasks = [group.create_task(run(search, choice)) for choice, search in enumerate(searches)]
    return [task.result() for task in tasks]


def choice_seed(seed: int, choice: int) -> int:
    """The seed of a request's `choice`-th answer; the first answer's is the request's own."""
    return derive_seed(seed, "choice", choice) if choice else seed


def choice_sampling(sampling: Sampling, choice: int) -> Sampling:
    """The sampling of a request's `choice`-th draft."""
    return sampling if sampling.seed is None else replace(sampling, seed=choice_seed(sampling.seed, choice))
