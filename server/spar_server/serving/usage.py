"""The usage of a request, as responses report it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from spar_core.budget import Call
from spar_core.checklist import ChecklistJudgement
from spar_core.cost import Price
from spar_core.judge import Judgement
from spar_core.search import Answers
from spar_core.types import Cancelled, ModelRole, Usage
from spar_server.serving.plan import Outcome

_NONE: Final = Usage()
ROLES: Final[tuple[ModelRole, ...]] = ("actor", "refiner", "judge")
# Of costs, so that sums do not end in the errors of binary fractions.
_DIGITS: Final = 12
_NONE_CANCELLED: Final = Cancelled()


def tokens(usage: Usage) -> dict[str, int | None]:
    """The tokens of a usage; null where the upstream did not count them."""
    return {
        "prompt": usage.prompt_tokens if usage.prompt_counted else None,
        "completion": usage.completion_tokens if usage.completion_counted else None,
    }


_NO_CALLS: Final = dict.fromkeys(ROLES, 0)
_NO_TOKENS: Final = {role: tokens(_NONE) for role in _NO_CALLS}


def usage_of(outcome: Outcome) -> dict[str, Any]:
    """The usage of a request: its prompt once, all generated tokens, and the cost of the search.

    Counts that the upstream does not report are null. Cancelled calls are reported separately.
    """
    answers = outcome.answers
    generated = generated_usage(answers)
    answered = _total([answer.usage for answer in answers.completions])
    prompt = answers.results[0].draft.usage
    reasoning_tokens = generated.completion_tokens - answered.completion_tokens + answered.reasoning_tokens
    cancelled = sum(answers.cancelled.values(), _NONE_CANCELLED) if answers.cancelled else _NONE_CANCELLED
    first = answers.nodes[0]
    return {
        **token_counts(prompt, generated),
        "prompt_tokens_details": {"cached_tokens": prompt.cached_tokens if prompt.prompt_counted else None},
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens if generated.completion_counted else None},
        "refinement": {
            "budget": outcome.budget,
            "nodes": answers.expanded,
            "depth": first.depth,
            "algorithm": outcome.plan.config.algorithm,
            "judge": outcome.plan.judge_name,
            "checklist": _checklist_counts(first.judgement),
            "accepted": first.accepted,
            "improved": first.depth > 0,
            "value": first.value,
            "draft_value": answers.draft_value,
            "stop_reason": answers.stop_reason,
            "stop_reasons": list(answers.stop_reasons),
            "degraded": outcome.degraded,
            "calls": {**_NO_CALLS, **answers.calls},
            "tokens": {**_NO_TOKENS, **{role: tokens(usage) for role, usage in answers.usage.items()}},
            "cost": cost_of(answers.usage, outcome.plan.pair.prices),
            "cancelled_calls": cancelled.calls,
            "cancelled_tokens_at_most": cancelled.tokens_at_most,
            "duration_ms": round(answers.duration_s * 1000, 1),
        },
    }


def _checklist_counts(judgement: Judgement | None) -> dict[str, int] | None:
    """How many items code and votes decided, and how many were dropped; None without a checklist."""
    if not isinstance(judgement, ChecklistJudgement):
        return None
    by_code = sum(item.decided_by == "code" for item in judgement.items)
    return {"by_code": by_code, "by_votes": len(judgement.items) - by_code, "dropped": len(judgement.dropped)}


def cost_of(usage: Mapping[ModelRole, Usage], prices: Mapping[ModelRole, Price]) -> dict[str, float | None] | None:
    """What a usage cost, by role and in all; null where a price or a count is unknown, and without any price."""
    if not prices:
        return None
    costs: dict[str, float | None] = {}
    for role in ROLES:
        used, price = usage.get(role, _NONE), prices.get(role)
        cost = 0.0 if used is _NONE else None if price is None else price.of(used)
        costs[role] = None if cost is None else round(cost, _DIGITS)
    known = [cost for cost in costs.values() if cost is not None]
    return {**costs, "total": round(sum(known), _DIGITS) if len(known) == len(costs) else None}


def generated_usage(answers: Answers) -> Usage:
    """The usage of all model calls together."""
    return _total(answers.usage.values())


def _total(usages: Collection[Usage]) -> Usage:
    # Fast path for the common case of a single model call.
    return next(iter(usages)) if len(usages) == 1 else sum(usages, _NONE)


def token_counts(prompt: Usage, generated: Usage) -> dict[str, int | None]:
    """OpenAI's three token counts, of the prompt of one usage and the output of another. Unknown counts are null."""
    known = prompt.prompt_counted and generated.completion_counted
    return {
        "prompt_tokens": prompt.prompt_tokens if prompt.prompt_counted else None,
        "completion_tokens": generated.completion_tokens if generated.completion_counted else None,
        "total_tokens": prompt.prompt_tokens + generated.completion_tokens if known else None,
    }


def call_data(call: Call) -> dict[str, Any]:
    """What a call was, when it ran and what it used, without its prompt."""
    return {
        "role": call.role,
        "count": call.count,
        "started_ms": round(call.started_s * 1000, 1),
        "ended_ms": round(call.ended_s * 1000, 1),
        "outcome": call.outcome,
        "usage": tokens(call.usage),
    }
