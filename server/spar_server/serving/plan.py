"""Plan a validated request: its budget, search configuration, checks and models; then run the plan.

plan = build_plan(chat, header, pair=pair, defaults=defaults)
async with gate.admit(plan, request) as allowance:
    outcome = await plan.run(allowance)
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import field, replace
from secrets import token_hex
from typing import Any, Final, Literal

from spar_core.backends.base import constrains, is_batching
from spar_core.backends.context import bind_calls, bind_trace
from spar_core.backends.pool import conversation_key
from spar_core.budget import LEAST_TOKENS
from spar_core.checklist import ChecklistJudge
from spar_core.checks import Check, build_check, format_check
from spar_core.cost import CostBound
from spar_core.cutoff import Cutoff
from spar_core.errors import DeadlineReached, RequestError
from spar_core.frozen import frozen
from spar_core.judge import Judge, Judgement, JudgeName, ResponseJudge
from spar_core.refiner import Refiner
from spar_core.search import (
    Answers,
    Models,
    Node,
    SearchConfig,
    Searcher,
    SearchResult,
    StopReason,
    Tree,
    choice_sampling,
)
from spar_core.search.events import Emit, Event
from spar_core.types import Cancelled, Completion, Delta, Message, Sampling
from spar_server.http.streams import read_ahead
from spar_server.models.pair import ServedPair
from spar_server.schemas import TEXT_PARTS, ChatRequest, RefineOptions
from spar_server.serving.model_name import ModelName, find_model
from spar_server.settings import RefineDefaults

BUDGET_HEADER: Final = b"x-refine-budget"
_EFFORTS: Final[Mapping[str, int]] = {"none": 0, "minimal": 0, "low": 2, "medium": 6, "high": 15, "xhigh": 15}


@frozen
class RefineBudget:
    """`nodes` is the maximum number of nodes.

    It is `explicit` if the client set the number itself. One that comes from an effort or a default is dropped where
    a refined answer is not available.
    """

    nodes: int
    explicit: bool


def resolve_budget(
    request: ChatRequest, header: str | None, *, named: ModelName, defaults: RefineDefaults, least: int = 0
) -> RefineBudget:
    """The budget from the first of: body, header, model suffix, reasoning effort, the model's alias, the default.

    `header` is the value of X-Refine-Budget, `named` the request's model. Where none of the first four names a budget,
    it is at least `least`.

    Raises:
        RequestError: the budget is not a number, over the server's limit, or fixed by the model; names its source.
    """
    suffix = named.suffix
    if request.refine_budget is not None:
        source, budget = "refine_budget", request.refine_budget
    elif header is not None:
        source, budget = "X-Refine-Budget", _parse_number(header, "X-Refine-Budget")
    elif suffix is not None:
        source, budget = "model", _parse_number(suffix, "model")
    else:
        effort = request.reasoning_effort if defaults.effort_budgets and not named.locks_budget else None
        own = defaults.refine_budget if named.default_budget is None else named.default_budget
        budget = max(least, own) if effort is None else _EFFORTS[effort]
        return RefineBudget(min(budget, defaults.max_refine_budget), explicit=least > 0)
    if named.locks_budget:
        raise named.locked_error(source)
    return RefineBudget(_check_limit(budget, source, defaults), explicit=True)


def budget_of_model(named: ModelName, *, defaults: RefineDefaults) -> int:
    """The budget in a model name `NAME@N`, else 0. Raises like `resolve_budget`."""
    if named.suffix is None:
        return 0
    if named.locks_budget:
        raise named.locked_error("model")
    return _check_limit(_parse_number(named.suffix, "model"), "model", defaults)


def _check_limit(budget: int, source: str, defaults: RefineDefaults) -> int:
    if budget > defaults.max_refine_budget:
        raise RequestError(f"{source}: {budget} is over the limit of {defaults.max_refine_budget}", param=source)
    return budget


def _parse_number(text: str, source: str) -> int:
    digits = text.strip()
    # Bound the number of digits: int() of a long string takes time.
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise RequestError(
            f"{source}: the budget must be a whole number of at least 0, not {text[:40]!r}", param=source
        )
    return int(digits)


def _ignore(event: Event) -> None:
    """The default listener."""


# Fields that a refiner cannot honour, so the answer must be the draft.
_DRAFT_ONLY: Final = ("logprobs", "top_logprobs", "logit_bias", "audio", "modalities")
_HARMLESS: Final[tuple[object, ...]] = (None, False, 0, {}, {"type": "text"}, ["text"], [])
# Fields that make the engine enforce a format, on every candidate.
_FORMS: Final = ("response_format", "structured_outputs")
# More tokens than the markers around a refined answer need.
_MARKER_TOKENS: Final = 32


@frozen
class InitialAnswer:
    """An answer that the client supplies as the draft, with an optional critique."""

    draft: Completion
    critique: str | None = None


@frozen
class Allowance:
    """What the gate grants a request: at most `budget` nodes within `deadline_s` seconds, ended early by `cutoff`.

    `budget` is less than the plan's while the server is browned out.
    """

    budget: int
    deadline_s: float
    cutoff: Cutoff = field(default_factory=Cutoff)

    @property
    def kind(self) -> Literal["search", "pass_through"]:
        """The request's kind in the metrics."""
        return "search" if self.budget else "pass_through"


@frozen
class Plan:
    """Everything about one request that is decided before its first token. The gate then grants it an `Allowance`."""

    pair: ServedPair
    conversation: tuple[Message, ...]
    sampling: Sampling
    config: SearchConfig
    checks: tuple[Check, ...]
    options: RefineOptions
    judge_name: JudgeName = "holistic"
    # A vote without a readable verdict is continued by one more call.
    asks_verdict: bool = False
    n: int = 1
    cost_bound: CostBound | None = None
    initial: InitialAnswer | None = None
    # The request asks only for the votes on an answer.
    verdict_only: bool = False
    # The client does not forbid to store the search.
    may_store: bool = True
    trace_id: str = field(default_factory=lambda: token_hex(16))

    def passes_through(self, allowance: Allowance) -> bool:
        """Whether the drafts are the answers, so that the actor's tokens can be streamed as they arrive."""
        return not self.refines(allowance.budget)

    def refines(self, budget: int) -> bool:
        """Whether a budget of `budget` nodes leads to a search."""
        return budget > 0 or self.initial is not None

    def draft_deadline_s(self, allowance: Allowance) -> float | None:
        """The limit on streaming a draft: a long answer is cut off only if its client set a deadline."""
        return None if self.options.deadline_s is None else allowance.deadline_s

    def bind_calls(self) -> None:
        """Bind affinity, deadline and trace to the model calls of this task and its subtasks.

        Without a search, the drafts have the affinity of their own messages, which is the same.
        """
        seconds = self.config.deadline_s
        bind_calls(
            affinity=conversation_key(self.conversation) if self.judges else None,
            deadline=None if seconds is None else time.monotonic() + seconds,
            trace_id=self.trace_id,
        )
        if not self.may_store:
            bind_trace(private=True)

    def build_judge(self) -> ResponseJudge:
        common: dict[str, Any] = {
            "backend": self.pair.judging or self.pair.refiner,
            "templates": self.pair.templates,
            "votes": self.config.votes,
            "threshold": self.config.threshold,
            "early_stop": self.config.early_vote_stop,
            "sampling": self.pair.judge_sampling,
            "ask_verdict": self.asks_verdict,
        }
        if self.judge_name == "checklist":
            requirements = tuple(self.options.requirements)
            return ChecklistJudge(**common, extractors=self.pair.extractors, requirements=requirements)
        return Judge(**common)

    @property
    def judges(self) -> bool:
        """Whether the full budget can lead to votes."""
        return self.judges_with(self.config.budget)

    @property
    def cost(self) -> int:
        """The cost of the full budget."""
        return self.cost_with(self.config.budget)

    def judges_with(self, budget: int) -> bool:
        """Whether a budget of `budget` nodes can lead to votes."""
        return self.verdict_only or budget > 0

    @property
    def calls_per_vote(self) -> int:
        """Two if a vote without a verdict is asked for it."""
        return 2 if self.asks_verdict else 1

    def cost_with(self, budget: int) -> int:
        """The maximum number of model calls: the drafts with the votes on each, and `budget` nodes with theirs."""
        drafts = 0 if self.initial else self.n * _best_of(self.sampling)
        if not self.judges_with(budget):
            return max(1, drafts)
        votes = self.config.votes * self.calls_per_vote
        judge = self.build_judge()
        extra = judge.extra_calls if isinstance(judge, ChecklistJudge) else 0
        if self.verdict_only:
            return votes + extra
        judged_drafts = 0 if self.initial and self.initial.critique else self.n
        return drafts + judged_drafts * votes + budget * (1 + votes) + extra

    @property
    def bare(self) -> bool:
        """Whether the engine enforces a format, so that a refinement is written without markers."""
        return bool(self._form)

    @property
    def _form(self) -> dict[str, Any]:
        return {name: self.sampling.extra[name] for name in _FORMS if self.sampling.extra.get(name) not in _HARMLESS}

    @property
    def _refiner(self) -> Refiner:
        pair, form = self.pair, self._form
        max_tokens = self._refine_tokens(markers=0 if form else _MARKER_TOKENS)
        return Refiner(
            backend=pair.refiner,
            templates=pair.templates,
            sampling=replace(pair.refine_sampling, max_tokens=max_tokens, extra=form),
            bare=bool(form),
        )

    async def run(self, allowance: Allowance, *, on_event: Emit = _ignore) -> Outcome:
        """Draft, judge and refine within the allowance.

        Raises:
            BackendError: there is no draft.
        """
        if self.passes_through(allowance) and self.n == 1:
            return self.outcome(allowance, await self._draft(allowance))
        models = Models(actor=self.pair.actor, judge=self.build_judge(), refiner=self._refiner)
        config = replace(self.config, budget=allowance.budget, deadline_s=allowance.deadline_s)
        answers = await Searcher(models, config, self._seeded_sampling, self.checks, self.cost_bound).run_n(
            self.conversation,
            self.n,
            draft=self.initial.draft if self.initial else None,
            draft_judgement=self._initial_judgement(),
            emit=on_event,
            cutoff=allowance.cutoff,
        )
        return self.outcome(allowance, answers)

    def outcome(self, allowance: Allowance, answers: Answers) -> Outcome:
        return Outcome(self, allowance.budget, answers, answers.degraded or allowance.budget < self.config.budget)

    @property
    def _seeded_sampling(self) -> Sampling:
        """The drafts' sampling. With the search's own seed where the client sets none, so that it can be run again."""
        return self.sampling if self.sampling.seed is not None else self.sampling.seeded(self.config.seed)

    def _initial_judgement(self) -> Judgement | None:
        """A client's critique replaces the judgement of its answer: the verdict is No."""
        critique = self.initial and self.initial.critique
        return Judgement((), self.config.threshold, report=critique) if critique else None

    async def _draft(self, allowance: Allowance) -> Answers:
        """One unrefined draft, without the overhead of a search."""
        began = time.monotonic()
        try:
            with allowance.cutoff.timeout(allowance.deadline_s):
                draft = await self.pair.actor.complete(self.conversation, self._draft_sampling(0))
        except TimeoutError as error:
            raise DeadlineReached("the deadline came before the actor's draft") from error
        return self.passed_through([draft], time.monotonic() - began)

    def _refine_tokens(self, *, markers: int) -> int | None:
        """The limit on a refinement: the client's limit on an answer plus its markers, if that is lower."""
        limit, default = self.sampling.max_tokens, self.pair.refine_sampling.max_tokens
        if limit is None or default is None:
            return default if limit is None else limit + markers
        return min(default, limit + markers)

    def draft_stream(self, choice: int) -> AsyncGenerator[Sequence[Delta], None]:
        """Stream the unrefined draft of a choice; deltas that arrive together are one batch."""
        actor, sampling = self.pair.actor, self._draft_sampling(choice)
        if is_batching(actor):
            return actor.stream_batches(self.conversation, sampling)
        return read_ahead(actor.stream(self.conversation, sampling))

    def _draft_sampling(self, choice: int) -> Sampling:
        sampling, max_tokens = choice_sampling(self.sampling, choice), self.config.max_search_tokens
        if max_tokens is None and self.cost_bound is None:
            return sampling
        # Without a search, the drafts are all the calls, and each gets an equal share.
        limits = (max_tokens and max_tokens // self.n, self._paid_for(), sampling.max_tokens)
        return replace(sampling, max_tokens=min((limit for limit in limits if limit is not None), default=None))

    def _paid_for(self) -> int | None:
        """How many tokens of each draft the bound on the cost pays for, after their prompts."""
        if (bound := self.cost_bound) is None:
            return None
        prompt = bound.prompt("actor", self.conversation, self.sampling)
        return bound.completion_tokens("actor", bound.limit / self.n - prompt)

    def check_cost(self) -> None:
        """Raise RequestError if the bound on the cost does not even pay for the drafts."""
        if self.cost_bound is None or self.initial or self.verdict_only:
            return
        paid_for = self._paid_for()
        prompt = self.cost_bound.prompt("actor", self.conversation, self.sampling)
        least = self.n * (prompt + self.cost_bound.prices["actor"].at_most(0, LEAST_TOKENS))
        if prompt * self.n > self.cost_bound.limit or (paid_for is not None and paid_for < LEAST_TOKENS):
            raise RequestError(
                f"refine.max_cost: {self.cost_bound.limit:g} may be too little for {self.n} drafts on this prompt; "
                f"give at least {least:.3g}, or shorten the prompt",
                param="refine.max_cost",
            )

    def passed_through(
        self, drafts: Sequence[Completion], seconds: float, *, cut_short: Collection[int] = ()
    ) -> Answers:
        """The answers of a request whose drafts were passed through; those `cut_short` ended at the deadline."""
        reasons: list[StopReason] = [
            "deadline" if index in cut_short else "pass_through" for index in range(len(drafts))
        ]
        results = tuple([_unrefined(draft, seconds, reason) for draft, reason in zip(drafts, reasons, strict=True)])
        cancelled = sum([self._cancelled_tokens(index, drafts[index]) for index in cut_short], Cancelled())
        return Answers(
            nodes=tuple([result.best for result in results]),
            results=results,
            calls={"actor": len(drafts)},
            usage={"actor": sum([draft.usage for draft in drafts[1:]], drafts[0].usage)},
            stop_reasons=tuple(reasons),
            cancelled={"actor": cancelled} if cut_short else {},
        )

    def _cancelled_tokens(self, choice: int, draft: Completion) -> Cancelled:
        """A draft that was cut short, and an upper bound on the tokens generated beyond those received."""
        limit = self._draft_sampling(choice).max_tokens
        return Cancelled(1, None if limit is None else max(0, limit - draft.usage.completion_tokens))


@frozen
class Outcome:
    """The answers to a request, and the budget that they could use.

    They are `degraded` if a model failed or the server's load lowered the budget.
    """

    plan: Plan
    budget: int
    answers: Answers
    degraded: bool = False


def _best_of(sampling: Sampling) -> int:
    """The number of candidates that the upstream generates per answer, from vLLM's `best_of`."""
    count = sampling.extra.get("best_of")
    return count if isinstance(count, int) and count > 0 else 1


def _unrefined(draft: Completion, seconds: float, reason: StopReason) -> SearchResult:
    root = Node((), "unjudged", draft)
    return SearchResult(
        best=root,
        tree=Tree(root),
        stop_reason=reason,
        degraded=False,
        calls={"actor": 1},
        usage={"actor": draft.usage},
        judgements=0,
        duration_s=seconds,
    )


def _draft_only(request: ChatRequest) -> str | None:
    """A field of the request that a refiner cannot honour."""
    return next((name for name in _DRAFT_ONLY if getattr(request, name) not in _HARMLESS), None)


def build_plan(
    request: ChatRequest,
    header: str | None,
    *,
    pair: ServedPair,
    defaults: RefineDefaults,
    within_s: float = math.inf,
    named: ModelName | None = None,
    least_budget: int = 0,
    max_cost: float | None = None,
) -> Plan:
    """Plan a request.

    `header` is the value of X-Refine-Budget, `within_s` is how long the client waits. `named` is the request's model,
    by default the pair under its own name. A request that names no budget has at least `least_budget`, and
    none may cost more than `max_cost`.

    Raises:
        ApiError: the model is unknown.
        RequestError: a field is invalid or cannot be honoured; names it.
    """
    named = named or find_model(request.model, pair.name)
    requested = resolve_budget(request, header, named=named, defaults=defaults, least=least_budget)
    budget = requested.nodes
    if budget and (draft_only := _draft_only(request)):
        if requested.explicit:
            raise RequestError(
                f"{draft_only}: not available for a refined answer; set refine_budget to 0", param=draft_only
            )
        budget = 0
    n, max_tokens = request.n or 1, request.refine.max_search_tokens
    if max_tokens is not None and max_tokens < LEAST_TOKENS * n:
        raise RequestError(
            f"refine.max_search_tokens: {max_tokens} is too little for {n} drafts; give at least {LEAST_TOKENS * n}",
            param="refine.max_search_tokens",
        )
    config = _config(request, budget, defaults, within_s, algorithm=defaults.algorithm or pair.algorithm)
    judge_name = _judge_name(request.refine, pair)
    return Plan(
        pair=pair,
        conversation=request.conversation(),
        sampling=request.sampling(pair.actor_sampling),
        config=config,
        checks=_checks(request, refined=budget > 0),
        options=request.refine,
        judge_name=judge_name,
        asks_verdict=defaults.constrained_verdict == "auto" and constrains(pair.judging or pair.refiner),
        n=n,
        cost_bound=_cost_bound(request, pair, max_cost),
        may_store=request.store is not False,
    )


def _cost_bound(request: ChatRequest, pair: ServedPair, max_cost: float | None) -> CostBound | None:
    """The lower of the request's bound on its cost and its key's."""
    limits = [limit for limit in (request.refine.max_cost, max_cost) if limit is not None]
    if not limits:
        return None
    if (model := pair.unpriced()) is not None:
        raise RequestError(
            f"refine.max_cost: this server has no price for the model {model}; use max_search_tokens instead",
            param="refine.max_cost",
        )
    for number, message in enumerate(request.messages):
        if isinstance(message.content, list) and any(part["type"] not in TEXT_PARTS for part in message.content):
            raise RequestError(
                f"messages.{number}.content: the cost of images and other media has no bound that is known beforehand; "
                "send text only, or without max_cost",
                param=f"messages.{number}.content",
            )
    return CostBound(min(limits), pair.prices)


# Options that do not concern the search itself.
_NOT_OF_THE_SEARCH: Final = {
    *("checks", "judge", "requirements", "progress", "events", "prompts", "trace", "deadline_s", "max_cost"),
}


def _config(
    request: ChatRequest, budget: int, defaults: RefineDefaults, within_s: float, *, algorithm: str
) -> SearchConfig:
    options = request.refine
    if options.deadline_s is not None and options.deadline_s > defaults.deadline_s:
        raise RequestError(
            f"refine.deadline_s: {options.deadline_s:g} is over this server's limit of {defaults.deadline_s:g}",
            param="refine.deadline_s",
        )
    base = SearchConfig(
        budget=budget,
        seed=request.seed if request.seed is not None else random.getrandbits(31),
        algorithm=algorithm,
        branch=defaults.branch,
        beam=defaults.beam,
        max_depth=defaults.max_depth,
        votes=defaults.votes,
        threshold=defaults.threshold,
        stop=defaults.stop,
        deadline_s=min(options.deadline_s or defaults.deadline_s, within_s),
    )
    if not options.model_fields_set:
        return base
    return replace(base, **options.model_dump(exclude=_NOT_OF_THE_SEARCH, exclude_none=True))


def _judge_name(options: RefineOptions, pair: ServedPair) -> JudgeName:
    """The judge that the request names, or the pair's."""
    name = options.judge or pair.judge
    if options.requirements and name == "holistic":
        raise RequestError(
            'refine.requirements: the holistic judge does not read them; set refine.judge to "checklist"',
            param="refine.requirements",
        )
    return name


def _checks(request: ChatRequest, *, refined: bool) -> tuple[Check, ...]:
    """The client's checks, and one for its response format."""
    checks: list[Check] = []
    for number, check in enumerate(request.refine.checks):
        try:
            checks.append(build_check(check.id, check.kwargs))
        except RequestError as error:
            raise RequestError(str(error), param=f"refine.checks.{number}.{error.param}") from error
    form = format_check(request.response_format, used=refined)
    return (*checks, form) if form else tuple(checks)
