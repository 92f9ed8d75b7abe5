"""Several answers to one conversation: independent drafts, searched side by side on one budget."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from spar_core.backends.base import Backend
from spar_core.budget import TokensExhausted
from spar_core.checks.base import Check
from spar_core.cutoff import Cutoff
from spar_core.errors import BackendError, DeadlineReached
from spar_core.judge import Judge, Judgement
from spar_core.refiner import Refiner
from spar_core.search import events
from spar_core.search.config import SearchConfig
from spar_core.search.engine import open_budget, run_search
from spar_core.search.ranking import rank
from spar_core.search.result import CUT_SHORT, SearchResult, StopReason
from spar_core.search.tree import Node
from spar_core.seeds import derive_seed
from spar_core.types import Cancelled, Completion, Message, ModelRole, Sampling, Usage

S = TypeVar("S", Usage, Cancelled)


@dataclass(frozen=True, slots=True)
class Answers:
    """`nodes` are the answers, best first; `results` the searches that they come from, one for each draft.

    `calls`, `usage` and `cancelled` are those of all searches by model role. `stop_reasons` has one reason for each
    requested draft, in their order, also for the `failed` ones, which could not be had.
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
        """The first answer's, unless something cut short a search beside it: that is never hidden."""
        return next((reason for reason in CUT_SHORT if reason in self.stop_reasons), self.best.stop_reason)

    @property
    def degraded(self) -> bool:
        return self.failed > 0 or any(result.degraded for result in self.results)

    @property
    def expanded(self) -> int:
        """Nodes of all searches."""
        return sum(result.nodes for result in self.results)

    @property
    def draft_value(self) -> float | None:
        """The best draft's."""
        return max((r.draft_value for r in self.results if r.draft_value is not None), default=None)

    @property
    def duration_s(self) -> float:
        return max(result.duration_s for result in self.results)


async def run_several(
    conversation: Sequence[Message],
    n: int,
    *,
    actor: Backend,
    judge: Judge,
    refiner: Refiner,
    config: SearchConfig,
    actor_sampling: Sampling,
    checks: Sequence[Check] = (),
    draft: Completion | None = None,
    draft_judgement: Judgement | None = None,
    emit: events.Emit = lambda event: None,
    cutoff: Cutoff | None = None,
) -> Answers:
    """The best `n` of all answers that `n` searches find together on the config's one budget.

    With `draft` they all start from that response instead of drafts of their own. A draft that cannot be had costs one
    answer, unless it is the last: a search beside it may fill its place.

    Raises:
        BackendError: there is no draft at all.
    """
    first = open_budget(config)
    accounts = [first, *(first.sibling() for _ in range(n - 1))]
    searches = [
        run_search(
            conversation,
            actor=actor,
            judge=judge,
            refiner=refiner,
            config=replace(config, seed=choice_seed(config.seed, number)),
            actor_sampling=choice_sampling(actor_sampling, number),
            checks=checks,
            draft=draft,
            draft_judgement=draft_judgement,
            emit=partial(_of_choice, emit, number) if n > 1 else emit,
            budget=account,
            shares=n - number,
            cutoff=cutoff,
        )
        for number, account in enumerate(accounts)
    ]
    outcomes = await _all(searches)
    results = [outcome for outcome in outcomes if isinstance(outcome, SearchResult)]
    if not results:
        # One draft's share is never too small for it alone.
        raise next(outcome for outcome in outcomes if isinstance(outcome, BackendError))
    return Answers(
        nodes=tuple(rank([result.tree for result in results])[:n]),
        results=tuple(results),
        calls=dict(sum((account.calls for account in accounts), Counter())),
        usage=_sum((account.usage for account in accounts), Usage()),
        stop_reasons=tuple(_reason(outcome) for outcome in outcomes),
        failed=n - len(results),
        cancelled=_sum((account.cancelled for account in accounts), Cancelled()),
    )


def _sum(accounts: Iterable[Mapping[ModelRole, S]], nothing: S) -> dict[ModelRole, S]:
    total: dict[ModelRole, S] = {}
    for account in accounts:
        for role, one in account.items():
            total[role] = total.get(role, nothing) + one
    return total


def _reason(outcome: SearchResult | BackendError | None) -> StopReason:
    match outcome:
        case SearchResult():
            return outcome.stop_reason
        case None:
            return "tokens"
        case DeadlineReached():
            return "deadline"
        case _:
            return "upstream"


async def _all(searches: Sequence[Coroutine[None, None, SearchResult]]) -> list[SearchResult | BackendError | None]:
    """Every search's result, or why it has no draft: None is that the tokens had run out."""

    async def one(search: Coroutine[None, None, SearchResult]) -> SearchResult | BackendError | None:
        try:
            return await search
        except BackendError as error:
            return error
        except TokensExhausted:
            return None

    if len(searches) == 1:
        return [await one(searches[0])]
    async with asyncio.TaskGroup() as group:
        # The first to ask for tokens takes the first share: tasks start in this order.
        tasks = [group.create_task(one(search)) for search in searches]
    return [task.result() for task in tasks]


def _of_choice(emit: events.Emit, choice: int, event: events.Event) -> None:
    emit(events.OfChoice(choice, event))


def choice_seed(seed: int, choice: int) -> int:
    """The seed of a request's `choice`-th answer: the first is the one that a request for one answer gets."""
    return derive_seed(seed, "choice", choice) if choice else seed


def choice_sampling(sampling: Sampling, choice: int) -> Sampling:
    """How a request's `choice`-th draft is sampled."""
    return sampling if sampling.seed is None else replace(sampling, seed=choice_seed(sampling.seed, choice))
