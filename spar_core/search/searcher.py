"""Run searches: draft, judge, expand by a strategy, choose the answer.

searcher = Searcher.from_backends(actor=backend, refiner=backend, config=SearchConfig(budget=8))
result = await searcher.run([Message("user", "Write a haiku about rivers.")])
print(result.answer.text, result.stop_reason)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from spar_core.backends.base import Backend
from spar_core.budget import Budget
from spar_core.checks.base import Check
from spar_core.cost import CostBound
from spar_core.cutoff import Cutoff
from spar_core.errors import DeadlineReached
from spar_core.judge import Judge, Judgement, ResponseJudge
from spar_core.prompts import Templates, load_templates
from spar_core.refiner import Refiner
from spar_core.search import events
from spar_core.search.config import SearchConfig
from spar_core.search.expansion import Expansion, Models
from spar_core.search.multi import Answers, choice_sampling, choice_seed, merge_outcomes, run_side_by_side
from spar_core.search.ranking import rank
from spar_core.search.result import SearchResult, StopReason
from spar_core.search.strategies import STRATEGIES
from spar_core.search.strategies.restarts import search_trees
from spar_core.search.tree import Node, Tree
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling


def _ignore(event: events.Event) -> None:
    """The default listener."""


@dataclass(frozen=True, slots=True)
class Searcher:
    """Everything that the searches of many conversations have in common.

    The judge's own `votes`, `threshold` and sampling apply; `from_backends` builds one that takes them from `config`.
    `actor_sampling` samples the drafts. A response that fails one of the `checks` is rejected without a vote. `cost`
    bounds what all calls of a search cost.
    """

    models: Models
    config: SearchConfig = field(default_factory=SearchConfig)
    actor_sampling: Sampling = field(default_factory=Sampling)
    checks: Sequence[Check] = ()
    cost: CostBound | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown `config.algorithm` with a ConfigError before any model is called."""
        STRATEGIES.find(self.config.algorithm)

    @classmethod
    def from_backends(
        cls,
        *,
        actor: Backend,
        refiner: Backend,
        judge: ResponseJudge | None = None,
        templates: Templates | None = None,
        config: SearchConfig | None = None,
        actor_sampling: Sampling | None = None,
        checks: Sequence[Check] = (),
    ) -> Searcher:
        """A searcher whose prompts, votes and threshold follow `templates` and `config`.

        The refiner's model judges too, as in SPaR, unless there is a `judge`, such as `CheckJudge()` or a `Judge` on
        another backend. The shipped default set is the default for `templates`.
        """
        config = config or SearchConfig()
        templates = templates or load_templates("default")
        voting = Judge(
            backend=refiner,
            templates=templates,
            votes=config.votes,
            threshold=config.threshold,
            early_stop=config.early_vote_stop,
        )
        models = Models(actor=actor, judge=judge or voting, refiner=Refiner(backend=refiner, templates=templates))
        return cls(models, config, actor_sampling or Sampling(), checks)

    async def run(
        self,
        conversation: Sequence[Message],
        *,
        draft: Completion | None = None,
        draft_judgement: Judgement | None = None,
        emit: events.Emit = _ignore,
        cutoff: Cutoff | None = None,
    ) -> SearchResult:
        """Answer `conversation` as well as the config's budget allows.

        With `draft` the search starts from that response instead of the actor's, and with `draft_judgement` from that
        judgement of it. `emit` receives every event of `spar_core.search.events`. `max_search_tokens` bounds the draft
        as well. At the `cutoff` the search ends as at its deadline.

        Once there is a draft, a failed model call costs only its node: the best usable answer is returned with
        `degraded` set.

        Raises:
            BackendError: there is no draft, because the actor failed or the deadline came first.
        """
        start = _Start(conversation, draft, draft_judgement, cutoff or Cutoff())
        return await self._run(start, open_budget(self.config, self.cost), emit)

    async def run_n(
        self,
        conversation: Sequence[Message],
        n: int,
        *,
        draft: Completion | None = None,
        draft_judgement: Judgement | None = None,
        emit: events.Emit = _ignore,
        cutoff: Cutoff | None = None,
    ) -> Answers:
        """The best `n` answers that `n` searches, side by side on the config's one budget, find together.

        Takes what `run` takes; with `draft` all searches start from it. Events come as `OfChoice` if `n` is over 1. A
        failed draft costs one answer, which another search may replace.

        Raises:
            BackendError: there is no draft at all.
        """
        start = _Start(conversation, draft, draft_judgement, cutoff or Cutoff())
        first = open_budget(self.config, self.cost)
        budgets = [first, *(first.sibling() for _ in range(n - 1))]
        searches = [
            self._of_choice(choice)._run(
                start, budget, partial(_emit_of_choice, emit, choice) if n > 1 else emit, shares=n - choice
            )
            for choice, budget in enumerate(budgets)
        ]
        return merge_outcomes(await run_side_by_side(searches), budgets)

    def _of_choice(self, choice: int) -> Searcher:
        """The searcher of a request's `choice`-th answer: the same but for its seeds."""
        if choice == 0:
            return self
        return replace(
            self,
            config=replace(self.config, seed=choice_seed(self.config.seed, choice)),
            actor_sampling=choice_sampling(self.actor_sampling, choice),
        )

    async def _run(self, start: _Start, budget: Budget, emit: events.Emit, *, shares: int = 1) -> SearchResult:
        """One search on `budget`; `shares` is how many drafts the tokens left must still pay for."""
        expansion = Expansion(
            conversation=start.conversation,
            models=self.models,
            config=self.config,
            actor_sampling=self.actor_sampling,
            checks=self.checks,
            budget=budget,
            emit=emit,
        )
        draft = await self._draft(start, budget, shares) if start.draft is None else start.draft
        emit(events.Drafted(draft))
        # The tree has at least the unjudged draft, in case time runs out while the draft is being judged.
        expansion.tree = Tree(Node((), "unjudged", draft))
        try:
            with start.cutoff.timeout(budget.seconds_left):
                reason = await _search(expansion, draft, start.judgement, redraft=start.draft is None)
        except TimeoutError:
            reason = "deadline"
        result = _result(expansion, reason)
        emit(events.Finished(result))
        return result

    async def _draft(self, start: _Start, budget: Budget, shares: int) -> Completion:
        sampling = self.actor_sampling
        seed = sampling.seed if sampling.seed is not None else derive_seed(self.config.seed, "draft")
        try:
            with start.cutoff.timeout(budget.seconds_left):
                return await budget.complete(
                    "actor", self.models.actor, start.conversation, sampling.seeded(seed), shares=shares
                )
        except TimeoutError as error:
            raise DeadlineReached("the deadline came before the actor's draft") from error


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a search starts, and when it must end."""

    conversation: Sequence[Message]
    draft: Completion | None
    judgement: Judgement | None
    cutoff: Cutoff


def open_budget(config: SearchConfig, cost: CostBound | None = None) -> Budget:
    """The budget that the config describes; its time runs from now."""
    return Budget(nodes=config.budget, tokens=config.max_search_tokens, seconds=config.deadline_s, cost=cost)


def _emit_of_choice(emit: events.Emit, choice: int, event: events.Event) -> None:
    emit(events.OfChoice(choice, event))


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
        # Without a verdict there is no critique to refine by, and no evidence that the draft is wrong.
        return "abstained"
    reason = await search_trees(STRATEGIES[expansion.config.algorithm], expansion, root, redraft=redraft)
    return _cause(expansion) if reason == "no_candidates" else reason


def _cause(expansion: Expansion) -> StopReason:
    """Why there is nothing left to expand."""
    if expansion.tokens_exhausted:
        return "cost" if expansion.budget.cost_exhausted else "tokens"
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
