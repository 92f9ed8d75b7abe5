"""From a validated request to a search: what it may spend, how, and on which models."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from spar_core.checks import Check, build_check
from spar_core.errors import RequestError
from spar_core.judging import Judge
from spar_core.refining import Refiner
from spar_core.search import Node, SearchConfig, SearchResult, Tree, run_search
from spar_core.search.events import Emit
from spar_core.types import Completion, Message, Sampling
from spar_server.errors import ApiError
from spar_server.pair import Pair
from spar_server.schemas import ChatRequest, RefineOptions
from spar_server.settings import RefineDefaults

BUDGET_HEADER: Final = "x-refine-budget"
_EFFORTS: Final[Mapping[str, int]] = {"none": 0, "minimal": 0, "low": 2, "medium": 6, "high": 15, "xhigh": 15}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one request that is decided before its first token."""

    pair: Pair
    conversation: tuple[Message, ...]
    sampling: Sampling
    config: SearchConfig
    checks: tuple[Check, ...]
    options: RefineOptions

    async def search(self, emit: Emit) -> SearchResult:
        """Run it. Raises BackendError when there is no draft."""
        pair, config = self.pair, self.config
        judge = Judge(
            backend=pair.refiner,
            templates=pair.templates,
            votes=config.votes,
            threshold=config.threshold,
            early_stop=config.early_vote_stop,
            sampling=pair.judge_sampling,
        )
        refiner = Refiner(backend=pair.refiner, templates=pair.templates, sampling=pair.refine_sampling)
        return await run_search(
            self.conversation,
            actor=pair.actor,
            judge=judge,
            refiner=refiner,
            config=config,
            actor_sampling=self.sampling,
            checks=self.checks,
            emit=emit,
        )

    def passed_through(self, draft: Completion, seconds: float) -> SearchResult:
        """The result of a request whose draft went straight to the client."""
        root = Node((), "unjudged", draft)
        return SearchResult(
            best=root,
            tree=Tree(root),
            stop_reason="pass_through",
            degraded=False,
            calls={"actor": 1},
            usage={"actor": draft.usage},
            judgements=0,
            duration_s=seconds,
        )


def make_plan(request: ChatRequest, header: str | None, *, pair: Pair, defaults: RefineDefaults) -> Plan:
    """Decide what a request gets. `header` is the value of X-Refine-Budget.

    Raises:
        ApiError: the model is unknown.
        RequestError: a field is wrong or cannot be honoured; names it.
    """
    budget = _budget(request, header, pair, defaults)
    if request.n not in (None, 1):
        raise RequestError("n: only 1 answer per request is supported; send the request n times", param="n")
    if request.logprobs and budget:
        raise RequestError("logprobs: not available for a refined answer; set refine_budget to 0", param="logprobs")
    seed = request.seed if request.seed is not None else random.getrandbits(31)
    sampling = request.sampling(seed=seed)
    if sampling.max_tokens is None:
        sampling = replace(sampling, max_tokens=pair.actor_max_tokens)
    return Plan(
        pair=pair,
        conversation=request.conversation(),
        sampling=sampling,
        config=_config(request.refine, budget, seed, defaults),
        checks=_checks(request.refine),
        options=request.refine,
    )


def _budget(request: ChatRequest, header: str | None, pair: Pair, defaults: RefineDefaults) -> int:
    """Body, header, model suffix, reasoning effort, default: the first that is there."""
    name, _, suffix = request.model.rpartition("@") if "@" in request.model else (request.model, "", "")
    if name != pair.name:
        raise ApiError(
            404,
            f"the model {request.model!r} does not exist; this server has {pair.name!r} "
            f"(and {pair.name}@N for a budget of N)",
            param="model",
            code="model_not_found",
        )
    if request.refine_budget is not None:
        source, budget = "refine_budget", request.refine_budget
    elif header is not None:
        source, budget = "X-Refine-Budget", _number(header, "X-Refine-Budget")
    elif suffix:
        source, budget = "model", _number(suffix, "model")
    elif request.reasoning_effort is not None:
        source, budget = "reasoning_effort", min(_EFFORTS[request.reasoning_effort], defaults.max_refine_budget)
    else:
        source, budget = "refine_budget", defaults.refine_budget
    if budget > defaults.max_refine_budget:
        raise RequestError(
            f"{source}: {budget} is over this server's limit of {defaults.max_refine_budget}", param=source
        )
    return budget


def _number(text: str, source: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit():
        raise RequestError(f"{source}: the budget must be a whole number of at least 0, not {text!r}", param=source)
    return int(text)


def _config(options: RefineOptions, budget: int, seed: int, defaults: RefineDefaults) -> SearchConfig:
    base = SearchConfig(
        budget=budget,
        seed=seed,
        algorithm=defaults.algorithm,
        branch=defaults.branch,
        beam=defaults.beam,
        max_depth=defaults.max_depth,
        votes=defaults.votes,
        threshold=defaults.threshold,
        stop=defaults.stop,
        deadline_s=defaults.deadline_s,
    )
    asked = options.model_dump(exclude={"checks", "progress", "trace"}, exclude_none=True)
    return replace(base, **asked)


def _checks(options: RefineOptions) -> tuple[Check, ...]:
    checks: list[Check] = []
    for number, check in enumerate(options.checks):
        try:
            checks.append(build_check(check.id, check.kwargs))
        except RequestError as error:
            raise RequestError(str(error), param=f"refine.checks.{number}.{error.param}") from error
    return tuple(checks)
