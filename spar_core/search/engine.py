"""Run one search: draft, judge, expand by a strategy, choose the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spar_core.backends.base import Backend
from spar_core.budget import Budget
from spar_core.checks.base import Check
from spar_core.cutoff import Cutoff
from spar_core.errors import DeadlineReached
from spar_core.judge import Judge, Judgement
from spar_core.refiner import Refiner
from spar_core.search import events
from spar_core.search.best_first import best_first
from spar_core.search.best_of_n import best_of_n
from spar_core.search.bfs import bfs
from spar_core.search.config import SearchConfig
from spar_core.search.dfs import dfs
from spar_core.search.expansion import Expansion
from spar_core.search.iterative import iterative
from spar_core.search.ranking import rank
from spar_core.search.restarts import search_trees
from spar_core.search.result import SearchResult, StopReason
from spar_core.search.strategy import Strategy
from spar_core.search.tree import Node, Tree
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling

STRATEGIES: Final[dict[str, Strategy]] = {
    "bfs": bfs,
    "dfs": dfs,
    "best_first": best_first,
    "iterative": iterative,
    "best_of_n": best_of_n,
}


async def run_search(
    conversation: Sequence[Message],
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
    budget: Budget | None = None,
    shares: int = 1,
    cutoff: Cutoff | None = None,
) -> SearchResult:
    """Answer `conversation` as well as the config's budget allows.

    The judge's own `votes`, `threshold` and sampling apply. With `draft` the search starts from that response instead
    of the actor's. Model calls that fail once a draft exists cost only their nodes: the best usable
    answer is returned with `degraded`. With `max_search_tokens` the draft, too, is cut to it. A search that runs
    beside others is given its account, `budget`, and by `shares` how many drafts its tokens must still do for. At the
    `cutoff` it ends as it does at its deadline.

    Raises:
        BackendError: there is no draft, because the actor failed or the deadline came first.
    """
    budget, cutoff = budget or open_budget(config), cutoff or Cutoff()
    expansion = Expansion(
        conversation=conversation,
        actor=actor,
        judge=judge,
        refiner=refiner,
        config=config,
        actor_sampling=actor_sampling,
        checks=checks,
        budget=budget,
        emit=emit,
    )
    given = draft is not None
    if draft is None:
        draft = await _draft(expansion, actor, actor_sampling, shares, cutoff)
    emit(events.Drafted(draft))
    # The tree holds at least the unjudged draft, should the time end while it is being judged.
    expansion.tree = Tree(Node((), "unjudged", draft))
    try:
        async with cutoff.timeout(budget.seconds_left):
            reason = await _search(expansion, draft, draft_judgement, redraft=not given)
    except TimeoutError:
        reason = "deadline"
    result = _result(expansion, reason)
    emit(events.Finished(result))
    return result


def open_budget(config: SearchConfig) -> Budget:
    """The account that the config describes; its time runs from now."""
    return Budget(nodes=config.budget, tokens=config.max_search_tokens, seconds=config.deadline_s)


async def _draft(expansion: Expansion, actor: Backend, sampling: Sampling, shares: int, cutoff: Cutoff) -> Completion:
    seed = sampling.seed if sampling.seed is not None else derive_seed(expansion.config.seed, "draft")
    budget, conversation = expansion.budget, expansion.conversation
    try:
        async with cutoff.timeout(budget.seconds_left):
            return await budget.complete("actor", actor, conversation, sampling.seeded(seed), shares=shares)
    except TimeoutError as error:
        raise DeadlineReached("the deadline came before the actor's draft") from error


async def _search(expansion: Expansion, draft: Completion, judgement: Judgement | None, *, redraft: bool) -> StopReason:
    # Tool calls are for the client to make: there is no text to judge.
    if expansion.config.budget == 0 or draft.calls_tools:
        return "pass_through"
    root = await expansion.plant(draft, judgement)
    if root.judgement is None:
        return _cause(expansion)
    if root.accepted:
        return "draft_accepted"
    if root.judgement.abstained:
        # Without a verdict there is no critique to refine by, and no claim that the draft is wrong.
        return "abstained"
    reason = await search_trees(STRATEGIES[expansion.config.algorithm], expansion, root, redraft=redraft)
    return _cause(expansion) if reason == "no_candidates" else reason


def _cause(expansion: Expansion) -> StopReason:
    """Why there is nothing left to expand."""
    if expansion.tokens_exhausted:
        return "tokens"
    return "upstream" if expansion.degraded else "no_candidates"


def _result(expansion: Expansion, reason: StopReason) -> SearchResult:
    return SearchResult(
        best=rank([expansion.tree])[0],
        tree=expansion.tree,
        stop_reason=reason,
        degraded=expansion.degraded,
        calls=dict(expansion.budget.calls),
        usage=dict(expansion.budget.usage),
        judgements=expansion.judgements,
        duration_s=expansion.budget.elapsed_s,
        cancelled=dict(expansion.budget.cancelled),
    )
